package cache

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/caches"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func pruneCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "prune",
		Usage: "remove entries that were not used for some time",
		Description: "Entries expire after 7 days without use, or earlier if the cache is full.\n\nExamples:\n" +
			"   runnerctl cache prune --unused 24h\n" +
			"   runnerctl cache prune --unused 0s --yes",
		Flags: append(flags.Config(),
			&cli.DurationFlag{Name: "unused", Usage: "remove entries that were not used for this `TIME`; 0s: all", Value: 24 * time.Hour},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask for confirmation"},
			flags.Color(), flags.Host()),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options := caches.Prune{Unused: c.Duration("unused"), Sure: c.Bool("yes")}
			if options.Unused < 0 {
				return &cmdline.UsageError{Command: "cache prune", Problem: "--unused: expected 0s or more"}
			}
			if !options.Sure && !s.Asks() {
				return &cmdline.UsageError{Command: "cache prune", Problem: "no terminal for the confirmation: use --yes"}
			}
			return options.Run(c.Context, s)
		},
	}}
}
