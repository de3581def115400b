package host

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/prepare"
	"github.com/runnerctl/runnerctl/internal/session"
)

func prepareCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:      "prepare",
		Usage:     "set up a machine as a host, over ssh",
		ArgsUsage: "HOST",
		Description: "Installs the Docker Engine from the distribution's packages, sets kernel modules and settings, loads the AppArmor profile runnerctl-runner, " +
			"and keeps containers from the cloud's metadata service. It prints the plan and asks, and does the same with doctor's fixes.\n\nExamples:\n" +
			"   runnerctl host prepare ssh://admin@vm --dry-run\n" +
			"   runnerctl host prepare ssh://admin@vm --yes",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask for confirmation", Category: "Plan"},
			allowMetadata(),
			flags.Color(),
		}),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return &cmdline.UsageError{Command: "host prepare", Problem: "specify one machine: runnerctl host prepare ssh://USER@VM"}
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := prepare.Options{Settings: loaded, DryRun: c.Bool("dry-run"), Yes: c.Bool("yes"), AllowMetadata: c.Bool("allow-metadata")}
			if options.Theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			s := s
			s.Host = c.Args().First()
			return options.Run(c.Context, s)
		},
	}, Arguments: cmdline.Candidates{Kind: flags.HostNames, Most: 1}}
}

func allowMetadata() cli.Flag {
	return &cli.BoolFlag{Name: "allow-metadata", Usage: "let containers reach the cloud's metadata service", Category: "Plan"}
}
