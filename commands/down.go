package commands

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type downOptions struct {
	fleet  string // "" for every fleet
	dryRun bool
	theme  ui.Theme
}

func downCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:  "down",
		Usage: "stop the fleet's runners and remove them with their volumes",
		Description: "Examples:\n" +
			"   runnerctl down\n" +
			"   runnerctl down --all --dry-run",
		Flags: append(configFlags(),
			&cli.BoolFlag{Name: "all", Usage: "every fleet on this engine, and what is left of runs", Category: "Plan"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			colorFlag()),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			loaded, err := settings(c)
			if err != nil {
				return err
			}
			options := downOptions{fleet: loaded.Name, dryRun: c.Bool("dry-run")}
			if c.Bool("all") {
				options.fleet = ""
			}
			if options.theme, err = theme(c, d, d.streams.ErrTTY); err != nil {
				return err
			}
			return runDown(c.Context, d, options)
		},
	}
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
	}
	if options.dryRun {
		return printDown(ctx, d, engine, fleets, options.fleet == "")
	}
	removed := 0
	for _, name := range fleets {
		count, err := removeFleet(ctx, d, engine, name, options.theme)
		if err != nil {
			return err
		}
		removed += count
	}
	if options.fleet == "" {
		count, err := removeLeftovers(ctx, d, engine, options.theme)
		if err != nil {
			return err
		}
		removed += count
	}
	if removed == 0 {
		fmt.Fprintln(d.streams.Err, "no runners to remove")
	}
	return nil
}

func printDown(ctx context.Context, d deps, engine *dockerx.Engine, fleets []string, leftovers bool) error {
	for _, name := range fleets {
		observed, err := engine.Runners(ctx, name)
		if err != nil {
			return err
		}
		fleet.RemoveAll(observed).Write(d.streams.Out)
	}
	if !leftovers {
		return nil
	}
	inventory, err := engine.Inventory(ctx, false)
	if err != nil {
		return err
	}
	for _, one := range fleet.Leftovers(inventory) {
		fmt.Fprintf(d.streams.Out, "remove  %s  (%s)\n", one.Name, one.Cause)
	}
	return nil
}

// removeLeftovers removes throw-away runners that no run holds any more. One that
// is at work stays: it ends by itself.
func removeLeftovers(ctx context.Context, d deps, engine *dockerx.Engine, theme ui.Theme) (int, error) {
	inventory, err := engine.Inventory(ctx, false)
	if err != nil {
		return 0, err
	}
	left := fleet.Leftovers(inventory)
	for _, one := range left {
		if err := engine.Prune(context.WithoutCancel(ctx), one); err != nil {
			return 0, err
		}
		fmt.Fprintf(d.streams.Err, "%s %s   removed\n", theme.Check(), one.Name)
	}
	return len(left), nil
}

// removeFleet removes one fleet's runners and tells how many there were.
func removeFleet(ctx context.Context, d deps, engine *dockerx.Engine, name string, theme ui.Theme) (int, error) {
	// Without any runner image no up can be under way, and there is nothing to lock with.
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
	observed, err := engine.Runners(ctx, name)
	if err != nil {
		return 0, err
	}
	show := newProgress(d, theme)
	err = fleet.Execute(ctx, engine, fleet.RemoveAll(observed), fleet.Spec{}, 0, show)
	show.Close()
	if err != nil {
		return 0, err
	}
	return len(observed), engine.RemoveOrphans(ctx, name)
}
