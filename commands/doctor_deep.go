package commands

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
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/scripts"
)

type deepOptions struct {
	config  config.Config
	build   buildOptions
	offline bool
}

// deepStepLimit is for a step that hangs.
const deepStepLimit = 5 * time.Minute

// deepScript is one of scripts/deep.
type deepScript struct {
	id, title, text string
	number          int
}

// needsOutside is the step that --offline leaves out, and that is told where to go;
// needsPrivileged the one that runners.innerPrivileged: false leaves out;
// carriesMTU the one that is told where the neighbour listens.
const (
	needsOutside    = "egress"
	needsPrivileged = "privileged"
	carriesMTU      = "mtu"
)

func deepScripts() ([]deepScript, error) {
	entries, err := fs.ReadDir(scripts.Deep, "deep")
	if err != nil {
		return nil, err
	}
	var steps []deepScript
	for _, entry := range entries {
		number, id, numbered := strings.Cut(entry.Name(), "-")
		if !numbered {
			continue
		}
		text, err := scripts.Deep.ReadFile(path.Join("deep", entry.Name()))
		if err != nil {
			return nil, err
		}
		step := deepScript{id: id, title: strings.TrimPrefix(strings.SplitN(string(text), "\n", 3)[1], "# "), text: string(text)}
		if step.number, err = strconv.Atoi(number); err != nil {
			return nil, fmt.Errorf("scripts/deep/%s: %w", entry.Name(), err)
		}
		steps = append(steps, step)
	}
	slices.SortFunc(steps, func(a, b deepScript) int { return cmp.Compare(a.number, b.number) })
	return steps, nil
}

// runDeep starts two real runners, lets one show all that a job needs, and try to
// get out to the other and the host; both are gone when it returns. observe
// sees each step as it ends. A failed step is no error; those after it are
// skipped, since they stand on it.
func runDeep(ctx context.Context, d deps, engine *dockerx.Engine, env doctor.Env, options deepOptions, observe func(doctor.Step)) (_ doctor.Deep, err error) {
	result := doctor.Deep{Steps: []doctor.Step{}, Attempts: []doctor.Attempt{}}
	tell := func(step doctor.Step) {
		result.Steps = append(result.Steps, step)
		observe(step)
	}
	steps, err := deepScripts()
	if err != nil {
		return result, err
	}
	image := ensureImage
	if options.offline {
		image = imageAtHand
	}
	tag, id, _, err := image(ctx, d, engine, options.build)
	if err != nil {
		return result, err
	}
	result.Image = tag
	spec, err := specOf(ctx, engine, options.config, tag, id, env)
	if err != nil {
		return result, err
	}
	spec.Role = fleet.ThrowAway
	pair, remove, err := startPair(ctx, engine, spec, time.Duration(options.config.Runners.ReadyTimeout))
	defer func() { err = errors.Join(err, remove()) }()
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	broken := tellStart(ctx, engine, pair, err, tell)
	for _, step := range steps {
		switch {
		case broken:
			tell(doctor.Skipped(step.id, step.title, "a step before it failed"))
			continue
		case step.id == needsOutside && options.offline:
			tell(doctor.Skipped(step.id, step.title, "--offline"))
			continue
		case step.id == needsOutside && options.config.Target == "":
			tell(doctor.Skipped(step.id, step.title, "no target to reach; --target names one"))
			continue
		case step.id == needsPrivileged && !spec.InnerPrivileged:
			tell(doctor.Skipped(step.id, step.title, "runners.innerPrivileged is off"))
			continue
		}
		done, err := deepStep(ctx, engine, pair, step, options.config.Target)
		if err != nil {
			return result, err
		}
		tell(done)
		broken = done.Status == doctor.Fail
	}
	if broken {
		tell(doctor.Skipped("escape", escapeTitle, "a step before it failed"))
		return result, nil
	}
	started := time.Now()
	batteries, err := deepEscape(ctx, engine, pair, spec, env.Known.Local)
	if err != nil {
		return result, err
	}
	for _, battery := range batteries {
		result.Attempts = append(result.Attempts, battery.Attempts...)
	}
	tell(doctor.Judge("escape", escapeTitle, batteries, time.Since(started).Seconds()))
	return result, nil
}

// deepPair is the runner that is tried and the one that it must not reach.
type deepPair struct{ tried, neighbour fleet.Runner }

// startPair makes both side by side. remove is to be called in any case; an error
// is about the runners, or ctx has ended.
func startPair(ctx context.Context, engine *dockerx.Engine, spec fleet.Spec, limit time.Duration) (pair deepPair, remove func() error, err error) {
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
	var plan fleet.Plan
	var names []string
	for range 2 {
		name := newName(spec.Fleet+"-deep", taken)
		names = append(names, name)
		release, err := engine.Hold(ctx, spec.Fleet, name, spec.ImageID)
		if err != nil {
			return pair, remove, err
		}
		undo = append(undo, func() error { release(); return nil }, func() error { return engine.Discard(ctx, name) })
		plan.Operations = append(plan.Operations, fleet.Operation{Action: fleet.Create, Name: name, Cause: "doctor --deep"})
	}
	if err := fleet.Execute(ctx, engine, nil, plan, fleet.Options{Spec: spec, Ready: limit}, silent{}); err != nil {
		return pair, remove, err
	}
	if pair.tried, err = engine.Runner(ctx, names[0]); err != nil {
		return pair, remove, err
	}
	pair.neighbour, err = engine.Runner(ctx, names[1])
	return pair, remove, err
}

// silent is an Observer: the steps tell enough.
type silent struct{}

func (silent) Working(string, string)             {}
func (silent) Done(string, string, time.Duration) {}
func (silent) Failed(string, error)               {}

const (
	namespaceTitle = "a user namespace, and a machine in it"
	daemonTitle    = "its Docker daemon answers"
)

// tellStart tells the first two steps from how the start went; broken is true
// where it failed.
func tellStart(ctx context.Context, engine *dockerx.Engine, pair deepPair, err error, tell func(doctor.Step)) (broken bool) {
	if err != nil {
		raw := hint.Text(err)
		// The daemons speak only once there is a machine.
		if strings.Contains(raw, "\ncontainerd: ") || strings.Contains(raw, "\ndockerd: ") {
			tell(doctor.Step{ID: "namespace", Title: namespaceTitle, Status: doctor.Pass})
			tell(doctor.FailedStep("daemon", daemonTitle, raw, 0))
			return true
		}
		tell(doctor.FailedStep("namespace", namespaceTitle, raw, 0))
		tell(doctor.Skipped("daemon", daemonTitle, "a step before it failed"))
		return true
	}
	machine, daemon := doctor.Step{ID: "namespace", Title: namespaceTitle, Status: doctor.Pass}, doctor.Step{ID: "daemon", Title: daemonTitle, Status: doctor.Pass}
	if details, err := engine.Details(ctx, pair.tried); err == nil {
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

// deepStep runs one script as a job would. An error means that it could not be
// run at all.
func deepStep(ctx context.Context, engine *dockerx.Engine, pair deepPair, script deepScript, target string) (doctor.Step, error) {
	limited, cancel := context.WithTimeout(ctx, deepStepLimit)
	defer cancel()
	args := []string{"bash", "-c", script.text, script.id}
	if script.id == carriesMTU {
		own, _, err := engine.Addresses(limited, pair.neighbour)
		if err != nil {
			return doctor.Step{}, err
		}
		port, err := listenBeside(limited, engine, pair.neighbour)
		if err != nil {
			return doctor.Step{}, err
		}
		args = append(args, own.String(), port)
	}
	if script.id == needsOutside {
		at, err := url.Parse(target)
		if err != nil {
			return doctor.Step{}, fmt.Errorf("target: %w", err)
		}
		args = append(args, at.Hostname(), cmp.Or(at.Port(), "443"))
	}
	started := time.Now()
	out, errs := &dockerx.Head{Limit: 1 << 16}, &dockerx.Head{Limit: 1 << 16}
	code, err := engine.Exec(limited, pair.tried, dockerx.Command{Args: args, Stdout: out, Stderr: errs})
	took := time.Since(started)
	if ctx.Err() != nil {
		return doctor.Step{}, context.Cause(ctx)
	}
	step := doctor.Step{ID: script.id, Title: script.title, Status: doctor.Pass, Seconds: took.Seconds(), Observed: lastLine(out.String())}
	switch {
	case err != nil:
		return doctor.FailedStep(script.id, script.title, err.Error(), took), nil
	case code == 2:
		step.Status = doctor.Warn
	case code != 0:
		raw := strings.TrimSpace(errs.String() + out.String())
		if doctor.Explain(raw) == nil { // the daemon's own log may tell more
			raw = strings.Join(append([]string{raw}, fleet.Telling(engine.LastLines(ctx, pair.tried, 8))...), "\n")
		}
		return doctor.FailedStep(script.id, script.title, cmp.Or(raw, fmt.Sprintf("exit code %d", code)), took), nil
	}
	return step, nil
}

// listenBeside starts scripts/deep/neighbour and returns its port; it ends with
// its runner.
func listenBeside(ctx context.Context, engine *dockerx.Engine, runner fleet.Runner) (port string, err error) {
	text, err := scripts.Deep.ReadFile("deep/neighbour")
	if err != nil {
		return "", err
	}
	port, err = firstSaid(canaryLimit, func(out io.Writer) error {
		_, err := engine.ExecOuter(ctx, runner, dockerx.Command{Args: []string{"perl", "-e", string(text)}, Stdout: out, Stderr: out})
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
