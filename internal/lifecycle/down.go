package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/prune"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// JobsWait is how long down waits for jobs by default.
const JobsWait = 30 * time.Minute

// Down are the options of down.
type Down struct {
	Settings config.Config
	Fleet    string // "" for every fleet
	Cache    bool   // remove the host's cache
	DryRun   bool
	Wait     time.Duration // limit for jobs to end
	Force    bool          // cancel jobs, and go on without GitHub
	Theme    ui.Theme
}

// down is a run of down on one host.
type down struct {
	session.Session
	Down
	engine *dockerx.Engine
}

// Run removes the fleet on the session's host, or every fleet.
func (o Down) Run(ctx context.Context, s session.Session) error {
	engine, _, err := s.Connect()
	if err != nil {
		return err
	}
	defer engine.Close()
	d := down{s, o, engine}
	fleets := []string{o.Fleet}
	if o.Fleet == "" {
		if fleets, err = engine.Fleets(ctx); err != nil {
			return err
		}
		fleets = withOwn(fleets, o.Settings)
	}
	if o.DryRun {
		return d.print(ctx, fleets)
	}
	removed := 0
	var failures []error // of single fleets; the others are still removed
	for _, name := range fleets {
		count, err := d.removeFleet(ctx, name)
		if err != nil && ctx.Err() != nil {
			return err
		}
		failures = append(failures, err)
		removed += count
	}
	if o.Fleet == "" {
		count, err := d.removeLeftovers(ctx)
		failures = append(failures, err)
		removed += count
	}
	if o.Cache {
		count, err := d.removeCache(ctx)
		failures = append(failures, err)
		removed += count
	}
	err = errors.Join(failures...)
	if removed == 0 && err == nil {
		fmt.Fprintln(s.Streams.Err, "no runners to remove")
	}
	return err
}

// withOwn adds the settings' own fleet if it has a target. If runnerctl was killed after a
// registration and before it made the fleet's first object, the fleet exists at GitHub only.
func withOwn(fleets []string, loaded config.Config) []string {
	if loaded.Target == "" || slices.Contains(fleets, loaded.Name) {
		return fleets
	}
	return append(fleets, loaded.Name)
}

// print prints the plan.
func (d down) print(ctx context.Context, fleets []string) error {
	var failures []error // of single fleets; the others' plans are still printed
	for _, name := range fleets {
		var plan fleet.Plan
		err := d.withLoop(ctx, name, func(loop controller.Controller, desired fleet.Desired) (err error) {
			plan, err = loop.Plan(ctx, desired)
			return err
		})
		if err != nil && ctx.Err() != nil {
			return err
		}
		parts, partsErr := d.engine.SupervisorParts(ctx, name)
		failures = append(failures, err, partsErr)
		for _, part := range parts {
			fmt.Fprintf(d.Streams.Out, "remove  %s  (down)\n", part)
		}
		plan.Write(d.Streams.Out)
	}
	if d.Fleet == "" {
		inventory, err := d.engine.Inventory(ctx, false)
		failures = append(failures, err)
		for _, one := range prune.Leftovers(inventory) {
			fmt.Fprintf(d.Streams.Out, "remove  %s  (%s)\n", one.Name, one.Cause)
		}
	}
	if d.Cache {
		parts, err := d.engine.CacheParts(ctx)
		failures = append(failures, err)
		for _, part := range parts {
			fmt.Fprintf(d.Streams.Out, "remove  %s  (down)\n", part)
		}
	}
	return errors.Join(failures...)
}

// removeCache removes the host's cache.
func (d down) removeCache(ctx context.Context) (int, error) {
	removed, err := d.engine.RemoveCache(ctx)
	for _, name := range removed {
		fmt.Fprintf(d.Streams.Err, "%s %s   removed\n", d.Theme.Check(), name)
	}
	return len(removed), err
}

// removeLeftovers removes throw-away runners that no run holds any more. A runner at work
// stays: it ends by itself.
func (d down) removeLeftovers(ctx context.Context) (int, error) {
	inventory, err := d.engine.Inventory(ctx, false)
	if err != nil {
		return 0, err
	}
	left := prune.Leftovers(inventory)
	for _, one := range left {
		if err := d.engine.Prune(context.WithoutCancel(ctx), one); err != nil {
			return 0, err
		}
		fmt.Fprintf(d.Streams.Err, "%s %s   removed\n", d.Theme.Check(), one.Name)
	}
	return len(left), nil
}

// removeFleet removes one fleet's runners and supervisor, and returns the number of removals.
func (d down) removeFleet(ctx context.Context, name string) (int, error) {
	// Without any runner image no up can be running, and the lock's container can't be made.
	image, err := d.engine.AnyImage(ctx)
	if err != nil {
		return 0, err
	}
	if image != "" {
		unlock, err := Lock(ctx, d.Session, d.engine, name, image)
		if err != nil {
			return 0, err
		}
		defer unlock()
	}
	parts, err := d.engine.SupervisorParts(ctx, name)
	if err != nil {
		return 0, err
	}
	// Stop it first, or it would recreate the runners that are removed.
	if err := d.engine.StopSupervisor(ctx, name); err != nil {
		return 0, err
	}
	show := d.NewProgress("auto", d.Theme)
	err = d.withLoop(ctx, name, func(loop controller.Controller, desired fleet.Desired) error {
		loop.Progress = show
		return loop.Converge(ctx, desired)
	})
	show.Close()
	if err != nil {
		return 0, err
	}
	removed := show.Count()
	if err := errors.Join(d.engine.RemoveOrphans(ctx, name), d.engine.RemoveState(ctx, name)); err != nil {
		return removed, err
	}
	for _, part := range parts {
		fmt.Fprintf(d.Streams.Err, "%s %s   removed\n", d.Theme.Check(), part)
	}
	return removed + len(parts), nil
}

// withLoop calls act with the reconcile loop and the desired state of down. With --force it
// continues if GitHub's view is not available: act is then called again.
func (d down) withLoop(ctx context.Context, name string, act func(controller.Controller, fleet.Desired) error) error {
	desired := fleet.Desired{Policy: fleet.Policy{Once: true, Down: true, JobWait: d.Wait, Force: d.Force}}
	loop := controller.Controller{Fleet: name, Engine: d.engine}
	runners, err := d.engine.Known(ctx, name)
	if err != nil {
		return err
	}
	loop.Targets, err = session.Targets{Session: d.Session, Engine: d.engine, Settings: d.Settings}.Open(ctx, name, runners)
	for {
		var unasked *session.UnaskedError
		switch {
		case err == nil:
		case !d.Force || !errors.As(err, &unasked) || ctx.Err() != nil:
			return err
		default:
			fmt.Fprintf(d.Streams.Err, "GitHub is not asked: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		err = act(loop, desired)
		var list *controller.ListError
		if !errors.As(err, &list) {
			return err
		}
		for _, url := range list.URLs {
			delete(loop.Targets, url)
		}
		err = session.Unlisted(err)
	}
}
