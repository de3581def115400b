package commands

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
)

func pruneCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "prune",
		Category: "Clean up",
		Usage:    "remove unused images, volumes and containers of all fleets",
		Description: "Removes runners of fleets without a running runner, volumes without a runner, runners of a killed run,\n" +
			"stale locks, and runner images that neither a container nor up needs. Objects without runnerctl's label are never touched.\n\nExamples:\n" +
			"   runnerctl prune --dry-run\n" +
			"   runnerctl prune --images --yes",
		Flags: []cli.Flag{
			flags.ConfigFile(),
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			&cli.BoolFlag{Name: "images", Usage: "remove only images", Category: "Plan"},
			&cli.BoolFlag{Name: "kept", Usage: "also remove runners that run --keep left", Category: "Plan"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask for confirmation", Category: "Plan"},
			flags.Color(),
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := lifecycle.Prune{Settings: loaded, DryRun: c.Bool("dry-run"), Sure: c.Bool("yes"), ImagesOnly: c.Bool("images"), Kept: c.Bool("kept")}
			if !options.DryRun && !options.Sure && !s.Asks() {
				return &cmdline.UsageError{Command: "prune", Problem: "no terminal for the confirmation: use --yes, or --dry-run to see the plan"}
			}
			if options.Theme, err = flags.Theme(c, s, s.Streams.ErrTTY); err != nil {
				return err
			}
			return options.Run(c.Context, s)
		},
	}}
}
