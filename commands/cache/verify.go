package cache

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/caches"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func verifyCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "verify",
		Usage: "read all entries and remove damaged ones",
		Description: "Every read checks an entry, so a damaged byte never reaches a job.\n\nExamples:\n" +
			"   runnerctl cache verify\n" +
			"   runnerctl cache verify --host vm2",
		Flags: append(flags.Config(), flags.Color(), flags.Host()),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			return caches.Verify(c.Context, s)
		},
	}}
}
