// Package selftest implements `doctor --deep`. It starts two real runners, runs the steps of a
// job in one of them, and lets that one attempt to reach the other one and the host. The
// checks of the machine are in internal/doctor. It may import dockerx, fleet, doctor, hint,
// scripts and templates.
package selftest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/machine/canary"
	"github.com/runnerctl/runnerctl/scripts"
)

// Options configure a self-test.
type Options struct {
	Spec    fleet.Spec    // of the runners, which are throw-away ones
	Ready   time.Duration // limit of a runner's start
	Target  string        // target on GitHub that a job reaches; "" for none
	Offline bool          // contact nothing outside
	Local   bool          // the engine's machine is this one
}

// stepLimit bounds a step that hangs.
const stepLimit = 5 * time.Minute

// Script is one of scripts/deep: a step that a job could take.
type Script struct {
	ID, Title, Text string
	Number          int // its place in the order
}

// IDs of the scripts that need an address outside, runners.innerPrivileged, and a listening
// neighbour.
const (
	NeedsOutside    = "egress"
	NeedsPrivileged = "privileged"
	CarriesMTU      = "mtu"
)

// Scripts lists the steps in their order.
func Scripts() ([]Script, error) {
	entries, err := fs.ReadDir(scripts.Deep, "deep")
	if err != nil {
		return nil, err
	}
	var steps []Script
	for _, entry := range entries {
		number, id, numbered := strings.Cut(entry.Name(), "-")
		if !numbered {
			continue
		}
		text, err := scripts.Deep.ReadFile(path.Join("deep", entry.Name()))
		if err != nil {
			return nil, err
		}
		step := Script{ID: id, Title: strings.TrimPrefix(strings.SplitN(string(text), "\n", 3)[1], "# "), Text: string(text)}
		if step.Number, err = strconv.Atoi(number); err != nil {
			return nil, fmt.Errorf("scripts/deep/%s: %w", entry.Name(), err)
		}
		steps = append(steps, step)
	}
	slices.SortFunc(steps, func(a, b Script) int { return cmp.Compare(a.Number, b.Number) })
	return steps, nil
}

// Run starts the runners, runs the scripts of scripts/deep in turn, and then makes the
// attempts to escape. It removes both runners before it returns. observe sees each step when
// it ends. A failed step is no error; the steps after it are skipped, because they depend on
// it.
func Run(ctx context.Context, engine *dockerx.Engine, options Options, observe func(doctor.Step)) (_ doctor.Deep, err error) {
	result := doctor.Deep{Image: options.Spec.Image, Steps: []doctor.Step{}, Attempts: []doctor.Attempt{}}
	tell := func(step doctor.Step) {
		result.Steps = append(result.Steps, step)
		observe(step)
	}
	steps, err := Scripts()
	if err != nil {
		return result, err
	}
	spec := options.Spec
	spec.Role = fleet.ThrowAway
	pair, remove, err := startPair(ctx, engine, spec, options.Ready)
	defer func() { err = errors.Join(err, remove()) }()
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	broken := reportStart(ctx, engine, pair, err, tell)
	for _, step := range steps {
		if why := step.skipped(options, broken); why != "" {
			tell(doctor.Skipped(step.ID, step.Title, why))
			continue
		}
		done, err := RunScript(ctx, engine, pair, step, options.Target)
		if err != nil {
			return result, err
		}
		tell(done)
		broken = done.Status == doctor.Fail
	}
	if broken {
		tell(doctor.Skipped("escape", escapeTitle, afterFailure))
		return result, nil
	}
	started := time.Now()
	batteries, err := escape(ctx, engine, pair, spec, options.Local)
	if err != nil {
		return result, err
	}
	for _, battery := range batteries {
		result.Attempts = append(result.Attempts, battery.Attempts...)
	}
	tell(doctor.Judge("escape", escapeTitle, batteries, time.Since(started).Seconds()))
	return result, nil
}

const afterFailure = "an earlier step failed"

// skipped returns the reason why a script is not run, or "" if it is run.
func (s Script) skipped(options Options, broken bool) string {
	switch {
	case broken:
		return afterFailure
	case s.ID == NeedsOutside && options.Offline:
		return "--offline"
	case s.ID == NeedsOutside && options.Target == "":
		return "no target to reach; set --target"
	case s.ID == NeedsPrivileged && !options.Spec.InnerPrivileged:
		return "runners.innerPrivileged is off"
	}
	return ""
}

// Pair is the runner under test and the neighbour that it must not reach.
type Pair struct{ Tried, Neighbour fleet.Runner }

// startPair makes both runners in parallel. remove must always be called. An error is about
// the runners, or ctx has ended.
func startPair(ctx context.Context, engine *dockerx.Engine, spec fleet.Spec, limit time.Duration) (pair Pair, remove func() error, err error) {
	var undo []func() error
	remove = func() error {
		var failures []error
		for _, one := range slices.Backward(undo) {
			failures = append(failures, one())
		}
		return errors.Join(failures...)
	}
	taken, err := engine.Names(ctx)
	if err != nil {
		return pair, remove, err
	}
	var names []string
	for range 2 {
		name := fleet.NewName(spec.Fleet+"-deep", taken)
		names = append(names, name)
		release, err := engine.Hold(ctx, spec.Fleet, name, spec.ImageID)
		if err != nil {
			return pair, remove, err
		}
		undo = append(undo, func() error { release(); return nil }, func() error { return engine.Discard(ctx, name) })
	}
	loop := controller.Controller{Fleet: spec.Fleet, Engine: engine}
	if err := loop.Create(ctx, fleet.Desired{Spec: spec, Ready: limit}, names...); err != nil {
		return pair, remove, err
	}
	if pair.Tried, err = engine.Runner(ctx, names[0]); err != nil {
		return pair, remove, err
	}
	pair.Neighbour, err = engine.Runner(ctx, names[1])
	return pair, remove, err
}

const (
	namespaceTitle = "a user namespace, and a machine in it"
	daemonTitle    = "its Docker daemon answers"
)

// reportStart derives the first two steps from the outcome of the start. broken is true if the
// start failed.
func reportStart(ctx context.Context, engine *dockerx.Engine, pair Pair, err error, tell func(doctor.Step)) (broken bool) {
	if err != nil {
		raw := hint.Text(err)
		// The daemons log only once the machine exists.
		if strings.Contains(raw, "\ncontainerd: ") || strings.Contains(raw, "\ndockerd: ") {
			tell(doctor.Step{ID: "namespace", Title: namespaceTitle, Status: doctor.Pass})
			tell(doctor.FailedStep("daemon", daemonTitle, raw, 0))
			return true
		}
		tell(doctor.FailedStep("namespace", namespaceTitle, raw, 0))
		tell(doctor.Skipped("daemon", daemonTitle, afterFailure))
		return true
	}
	machine, daemon := doctor.Step{ID: "namespace", Title: namespaceTitle, Status: doctor.Pass}, doctor.Step{ID: "daemon", Title: daemonTitle, Status: doctor.Pass}
	if details, err := engine.Details(ctx, pair.Tried); err == nil {
		before := details.Created
		for _, phase := range details.Phases {
			switch phase.Name {
			case "machine":
				machine.Seconds = phase.Time.Sub(before).Seconds()
				before = phase.Time
			case "dockerd":
				daemon.Seconds = phase.Time.Sub(before).Seconds()
			}
		}
		daemon.Observed = "Docker " + details.Engine.Inner
		for _, one := range details.UIDMap {
			if one.Inside == 0 {
				machine.Observed = fmt.Sprintf("its root is uid %d on the host", one.Outside)
			}
		}
	}
	tell(machine)
	tell(daemon)
	return false
}

// RunScript runs a script as a job would. An error means that the script could not be run at
// all.
func RunScript(ctx context.Context, engine *dockerx.Engine, pair Pair, script Script, target string) (doctor.Step, error) {
	limited, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	args := []string{"bash", "-c", script.Text, script.ID}
	if script.ID == CarriesMTU {
		own, _, err := engine.Addresses(limited, pair.Neighbour)
		if err != nil {
			return doctor.Step{}, err
		}
		port, err := listenInNeighbour(limited, engine, pair.Neighbour)
		if err != nil {
			return doctor.Step{}, err
		}
		args = append(args, own.String(), port)
	}
	if script.ID == NeedsOutside {
		at, err := url.Parse(target)
		if err != nil {
			return doctor.Step{}, fmt.Errorf("target: %w", err)
		}
		args = append(args, at.Hostname(), cmp.Or(at.Port(), "443"))
	}
	started := time.Now()
	out, errs := &dockerx.Head{Limit: 1 << 16}, &dockerx.Head{Limit: 1 << 16}
	code, err := engine.Exec(limited, pair.Tried, dockerx.Command{Args: args, Stdout: out, Stderr: errs})
	took := time.Since(started)
	if ctx.Err() != nil {
		return doctor.Step{}, context.Cause(ctx)
	}
	step := doctor.Step{ID: script.ID, Title: script.Title, Status: doctor.Pass, Seconds: took.Seconds(), Observed: lastLine(out.String())}
	switch {
	case err != nil:
		return doctor.FailedStep(script.ID, script.Title, err.Error(), took), nil
	case code == 2:
		step.Status = doctor.Warn
	case code != 0:
		raw := strings.TrimSpace(errs.String() + out.String())
		if doctor.Explain(raw) == nil { // the daemon's own log may explain more
			raw = strings.Join(append([]string{raw}, fleet.Meaningful(engine.LastLines(ctx, pair.Tried, 8))...), "\n")
		}
		return doctor.FailedStep(script.ID, script.Title, cmp.Or(raw, fmt.Sprintf("exit code %d", code)), took), nil
	}
	return step, nil
}

// listenInNeighbour starts a counter in a runner's outer tree and returns its port. The counter
// ends with its runner.
func listenInNeighbour(ctx context.Context, engine *dockerx.Engine, runner fleet.Runner) (port string, err error) {
	port, err = firstSaid(canaryLimit, func(out io.Writer) error {
		_, err := engine.ExecOuter(ctx, runner, dockerx.Command{Args: []string{canary.Program, canary.Counter}, Stdout: out, Stderr: out})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("runner %s: a listener: %w", runner.Name, err)
	}
	return port, nil
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}
