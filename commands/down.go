package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/prune"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type downOptions struct {
	config config.Config
	fleet  string // "" for every fleet
	dryRun bool
	wait   time.Duration // limit for jobs to end
	force  bool
	theme  ui.Theme
}

// jobsWait is how long down waits for jobs by default.
const jobsWait = 30 * time.Minute

func downCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:     "down",
		Category: "Run",
		Usage:    "stop the fleet's runners and its supervisor, and remove all that is theirs",
		Description: "Examples:\n" +
			"   runnerctl down\n" +
			"   runnerctl down --all --dry-run",
		Flags: slices.Concat(configFlags(), githubFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "every fleet on this engine, and what is left of runs", Category: "Plan"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			&cli.DurationFlag{Name: "wait", Usage: "`LIMIT` for jobs to end", Value: jobsWait, EnvVars: []string{"RUNNERCTL_WAIT"}, Category: "GitHub"},
			&cli.BoolFlag{Name: "force", Usage: "cancel jobs, and go on though GitHub can't be asked", Category: "GitHub"},
			colorFlag(),
		}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options := downOptions{config: loaded, fleet: loaded.Name, dryRun: c.Bool("dry-run"), wait: c.Duration("wait"), force: c.Bool("force")}
			if options.wait <= 0 {
				return &cmdline.UsageError{Command: "down", Problem: "--wait: expected more than 0; --force does not wait"}
			}
			if c.Bool("all") {
				options.fleet = ""
			}
			if options.theme, err = theme(c, d, d.streams.ErrTTY); err != nil {
				return err
			}
			return onEach(eachHost(d), func(d deps) error { return runDown(c.Context, d, options) })
		},
	}}
}

func runDown(ctx context.Context, d deps, options downOptions) error {
	engine, _, err := connect(d)
	if err != nil {
		return err
	}
	defer engine.Close()
	fleets := []string{options.fleet}
	if options.fleet == "" {
		if fleets, err = engine.Fleets(ctx); err != nil {
			return err
		}
		fleets = withOwn(fleets, options.config)
	}
	if options.dryRun {
		return printDown(ctx, d, engine, fleets, options)
	}
	removed := 0
	var failures []error // of single fleets; the others are still removed
	for _, name := range fleets {
		count, err := removeFleet(ctx, d, engine, name, options)
		if err != nil && ctx.Err() != nil {
			return err
		}
		failures = append(failures, err)
		removed += count
	}
	if options.fleet == "" {
		count, err := removeLeftovers(ctx, d, engine, options.theme)
		failures = append(failures, err)
		removed += count
	}
	err = errors.Join(failures...)
	if removed == 0 && err == nil {
		fmt.Fprintln(d.streams.Err, "no runners to remove")
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

func printDown(ctx context.Context, d deps, engine *dockerx.Engine, fleets []string, options downOptions) error {
	var failures []error // of single fleets; the others' plans are still printed
	for _, name := range fleets {
		var plan fleet.Plan
		err := withLoop(ctx, d, engine, name, options, func(loop controller.Controller, wish fleet.Wish) (err error) {
			plan, err = loop.Plan(ctx, wish)
			return err
		})
		if err != nil && ctx.Err() != nil {
			return err
		}
		parts, partsErr := engine.SupervisorParts(ctx, name)
		failures = append(failures, err, partsErr)
		for _, part := range parts {
			fmt.Fprintf(d.streams.Out, "remove  %s  (down)\n", part)
		}
		plan.Write(d.streams.Out)
	}
	if options.fleet == "" {
		inventory, err := engine.Inventory(ctx, false)
		failures = append(failures, err)
		for _, one := range prune.Leftovers(inventory) {
			fmt.Fprintf(d.streams.Out, "remove  %s  (%s)\n", one.Name, one.Cause)
		}
	}
	return errors.Join(failures...)
}

// removeLeftovers removes throw-away runners that no run holds any more. A runner at work
// stays: it ends by itself.
func removeLeftovers(ctx context.Context, d deps, engine *dockerx.Engine, theme ui.Theme) (int, error) {
	inventory, err := engine.Inventory(ctx, false)
	if err != nil {
		return 0, err
	}
	left := prune.Leftovers(inventory)
	for _, one := range left {
		if err := engine.Prune(context.WithoutCancel(ctx), one); err != nil {
			return 0, err
		}
		fmt.Fprintf(d.streams.Err, "%s %s   removed\n", theme.Check(), one.Name)
	}
	return len(left), nil
}

// removeFleet removes one fleet's runners and supervisor, and returns the number of removals.
func removeFleet(ctx context.Context, d deps, engine *dockerx.Engine, name string, options downOptions) (int, error) {
	// Without any runner image no up can be running, and the lock's container can't be made.
	image, err := engine.AnyImage(ctx)
	if err != nil {
		return 0, err
	}
	if image != "" {
		unlock, err := lockFleet(ctx, d, engine, name, image)
		if err != nil {
			return 0, err
		}
		defer unlock()
	}
	parts, err := engine.SupervisorParts(ctx, name)
	if err != nil {
		return 0, err
	}
	// Stop it first, or it would recreate the runners that are removed.
	if err := engine.StopSupervisor(ctx, name); err != nil {
		return 0, err
	}
	show := newProgress(d, "auto", options.theme)
	err = withLoop(ctx, d, engine, name, options, func(loop controller.Controller, wish fleet.Wish) error {
		loop.Progress = show
		return loop.Converge(ctx, wish)
	})
	show.Close()
	if err != nil {
		return 0, err
	}
	removed := int(show.done.Load())
	if err := errors.Join(engine.RemoveOrphans(ctx, name), engine.RemoveState(ctx, name)); err != nil {
		return removed, err
	}
	for _, part := range parts {
		fmt.Fprintf(d.streams.Err, "%s %s   removed\n", options.theme.Check(), part)
	}
	return removed + len(parts), nil
}

// withLoop calls act with the reconcile loop and the desired state of down. With --force it
// continues if GitHub's view is not available: act is then called again.
func withLoop(ctx context.Context, d deps, engine *dockerx.Engine, name string, options downOptions, act func(controller.Controller, fleet.Wish) error) error {
	wish := fleet.Wish{Policy: fleet.Policy{Once: true, Down: true, JobWait: options.wait, Force: options.force}}
	loop := controller.Controller{Fleet: name, Engine: engine}
	runners, err := engine.Known(ctx, name)
	if err != nil {
		return err
	}
	loop.Forges, err = openForges(ctx, d, engine, options.config, name, runners, nil)
	for {
		var unasked *unaskedError
		switch {
		case err == nil:
		case !options.force || !errors.As(err, &unasked) || ctx.Err() != nil:
			return err
		default:
			fmt.Fprintf(d.streams.Err, "GitHub is not asked: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		err = act(loop, wish)
		var list *controller.ListError
		if !errors.As(err, &list) {
			return err
		}
		delete(loop.Forges, list.URL)
		err = unlisted(err)
	}
}

// unaskedError reports a fleet for which GitHub's view is not available.
type unaskedError struct{ error }

// Unwrap returns the reason.
func (e *unaskedError) Unwrap() error { return e.error }

// Hint adds to the reason's own hint how to continue without GitHub.
func (e *unaskedError) Hint() string {
	own := hint.Of(e.error)
	if own != "" {
		own += "; "
	}
	return own + "runnerctl down --force goes on without GitHub, which forgets such runners by itself after a day (with ephemeral: false, after two weeks)"
}
