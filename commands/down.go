package commands

import (
	"context"

	"github.com/urfave/cli/v2"

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
			&cli.BoolFlag{Name: "all", Usage: "every fleet on this engine", Category: "Plan"},
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
	observed, err := engine.Runners(ctx, options.fleet)
	if err != nil {
		return engineError(err)
	}
	plan := fleet.RemoveAll(observed)
	if options.dryRun {
		plan.Write(d.streams.Out)
		return nil
	}
	show := newProgress(d, options.theme)
	err = fleet.Execute(ctx, engine, plan, fleet.Spec{}, 0, show)
	show.Close()
	if err != nil {
		return err
	}
	// Volumes whose runner is gone, from a process that was killed half-way.
	return engine.RemoveOrphans(ctx, options.fleet)
}
