package host

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/hosts"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
)

func drainCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:      "drain",
		Usage:     "bring the fleet down on one host",
		ArgsUsage: "NAME",
		Description: "Runs down for one host in hosts: of the file, and waits for its jobs. With count: 0 in the file, up leaves it empty.\n\nExamples:\n" +
			"   runnerctl host drain vm2\n" +
			"   runnerctl host drain vm2 --wait 2h",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), []cli.Flag{
			&cli.DurationFlag{Name: "wait", Usage: "time `LIMIT` for jobs to end", Value: lifecycle.JobsWait, EnvVars: []string{"RUNNERCTL_WAIT"}, Category: "GitHub"},
			&cli.BoolFlag{Name: "force", Usage: "cancel jobs, and continue if GitHub can't be reached", Category: "GitHub"},
			flags.Color(),
		}),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return &cmdline.UsageError{Command: "host drain", Problem: "specify one host: runnerctl host drain NAME"}
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := lifecycle.Down{Settings: loaded, Fleet: loaded.Name, Wait: c.Duration("wait"), Force: c.Bool("force")}
			if options.Theme, err = flags.Theme(c, s, s.Streams.ErrTTY); err != nil {
				return err
			}
			return hosts.Drain(c.Context, s, c.Args().First(), options)
		},
	}, Arguments: cmdline.Candidates{Kind: flags.HostNames, Most: 1}}
}
