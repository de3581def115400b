package cache

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/caches"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func rmCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:      "rm",
		Usage:     "remove entries by their IDs",
		ArgsUsage: "ID...",
		Description: "A job that is reading an entry still gets all of it.\n\nExamples:\n" +
			"   runnerctl cache rm 7914196464358507\n" +
			"   runnerctl cache rm $(runnerctl cache ls -o json | jq -r '.[] | select(.repository == \"ghcr.io\").id')",
		Flags: append(flags.Config(), flags.Color(), flags.Host()),
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return &cmdline.UsageError{Command: "cache rm", Problem: "specify at least one ID: runnerctl cache rm ID"}
			}
			return caches.Remove(c.Context, s, c.Args().Slice())
		},
	}}
}
