// Package demo runs the product's demo: nine jobs in three waves, from a stand-in GitHub, in
// three runners. It also serves the stand-in GitHub alone. It may import everything but commands
// and internal/cmdline.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/checkup"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/prune"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

const (
	size      = 3 // runners, and jobs in a wave
	waveLimit = 5 * time.Minute
	endLimit  = time.Minute // for runners that have had their job
)

// Options are the options of the demo.
type Options struct {
	Settings config.Config
	Build    lifecycle.Build
	Agent    string // file; "" for the one next to this program
	Waves    [][]Job
	JSON     bool
	Theme    ui.Theme
}

// Settings returns the settings of a demo. Each demo has a fleet of its own, so that two demos
// on one engine don't meet.
func Settings(loaded config.Config) config.Config {
	loaded.Target = "" // set to the stand-in's once it runs
	loaded.Name, loaded.Runners = fleet.NewName("demo", map[string]bool{}), config.Default().Runners
	loaded.Runners.Count = size
	return loaded
}

// run is a running demo.
type run struct {
	session.Session
	Options
	engine *dockerx.Engine
	github *ghsim.Server
	rows   []Row    // never nil, because an array is printed
	roots  []string // the counts of root processes
}

// Run runs the demo and removes everything that it made. It prints a table of the jobs, or as
// JSON one array.
func (o Options) Run(ctx context.Context, s session.Session) error {
	r := &run{Session: s, Options: o, rows: []Row{}}
	if o.JSON { // stdout has one document and nothing else
		r.Streams.Out = s.Streams.Err
	}
	started := time.Now()
	err := r.all(ctx)
	if o.JSON {
		return errors.Join(err, ui.WriteJSON(s.Streams.Out, r.rows))
	}
	out := s.Streams.Out
	if len(r.rows) > 0 {
		fmt.Fprintln(out)
		writeTable(out, r.rows, o.Theme)
		fmt.Fprintf(out, "\n%s\n", strings.Join(r.roots, "\n"))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s no collisions: the same names, ports and tags in %d jobs, each with a runner and a Docker daemon of its own; root inside, nobody on the host\n", o.Theme.Check(), len(r.rows))
	fmt.Fprintf(out, "%s queued to first step: %.2fs (median); nothing left at GitHub or on the host; %s in total\n", o.Theme.Check(), MedianStart(r.rows).Seconds(), ui.Duration(time.Since(started)))
	return nil
}

// all does everything except the summary, and removes everything that it made.
func (r *run) all(ctx context.Context) (err error) {
	if r.Settings.Image.Agent, err = agentOf(r.Agent); err != nil {
		return err
	}
	if err := (checkup.Options{Settings: r.Settings, Checks: doctor.Catalogue(), Theme: r.Theme}).Run(ctx, r.Session); err != nil {
		return err
	}
	fmt.Fprintln(r.Streams.Out)
	if r.engine, _, err = r.Connect(); err != nil {
		return err
	}
	defer r.engine.Close()
	github, done, err := startGitHub(ctx, r.engine, &r.Settings)
	if err != nil {
		return err
	}
	defer done()
	r.github = github
	err = r.runWaves(ctx)
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	down := lifecycle.Down{Settings: r.Settings, Fleet: r.Settings.Name, Wait: endLimit, Force: true, Theme: r.Theme}
	return errors.Join(err, down.Run(whole, r.Session), r.nothingLeft(whole))
}

// nothingLeft reports anything that down should have removed and did not.
func (r *run) nothingLeft(ctx context.Context) error {
	runners, err := r.engine.Runners(ctx, r.Settings.Name)
	if err != nil {
		return err
	}
	inventory, err := r.engine.Inventory(ctx, false)
	if err != nil {
		return err
	}
	volumes := slices.DeleteFunc(inventory.Volumes, func(one prune.Volume) bool { return one.Fleet != r.Settings.Name })
	if listed := r.github.Runners(); len(listed) > 0 || len(runners) > 0 || len(volumes) > 0 {
		return &WrongError{problem: fmt.Sprintf("left behind: %d registrations, %d runners, %d volumes", len(listed), len(runners), len(volumes))}
	}
	return nil
}

// agentOf returns the archive of the test agent: the given one, or the one next to this
// program.
func agentOf(given string) (config.Agent, error) {
	if given == "" {
		program, err := os.Executable()
		if err != nil {
			return config.Agent{}, fmt.Errorf("agent: %w", err)
		}
		found, err := filepath.Glob(filepath.Join(filepath.Dir(program), "testagent-linux-*.tar.gz"))
		if err != nil || len(found) != 1 {
			return config.Agent{}, hint.Add(fmt.Errorf("agent: found %d archives testagent-linux-….tar.gz next to %s", len(found), program), "make agent builds it; --agent names another file")
		}
		given = found[0]
	}
	path, err := filepath.Abs(given)
	return config.Agent{Version: "latest", Archive: path}, err
}
