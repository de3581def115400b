package commands

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
)

func downCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "down",
		Category: "Run",
		Usage:    "stop the fleet's runners and its supervisor, and remove all that is theirs",
		Description: "Examples:\n" +
			"   runnerctl down\n" +
			"   runnerctl down --all --dry-run\n" +
			"   runnerctl down --all --cache",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "all fleets on this engine, and leftovers of runs", Category: "Plan"},
			&cli.BoolFlag{Name: "cache", Usage: "also remove the host's cache and its entries", Category: "Plan"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			&cli.DurationFlag{Name: "wait", Usage: "`LIMIT` for jobs to end", Value: lifecycle.JobsWait, EnvVars: []string{"RUNNERCTL_WAIT"}, Category: "GitHub"},
			&cli.BoolFlag{Name: "force", Usage: "cancel jobs, and go on though GitHub can't be asked", Category: "GitHub"},
			flags.Color(),
		}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := lifecycle.Down{Settings: loaded, Fleet: loaded.Name, Cache: c.Bool("cache"), DryRun: c.Bool("dry-run"), Wait: c.Duration("wait"), Force: c.Bool("force")}
			if options.Wait <= 0 {
				return &cmdline.UsageError{Command: "down", Problem: "--wait: expected more than 0; --force does not wait"}
			}
			if c.Bool("all") {
				options.Fleet = ""
			}
			if options.Theme, err = flags.Theme(c, s, s.Streams.ErrTTY); err != nil {
				return err
			}
			return session.OnEach(s.Each(), func(s session.Session) error { return options.Run(c.Context, s) })
		},
	}}
}
