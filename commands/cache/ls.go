package cache

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/caches"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func lsCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "ls",
		Usage: "list the entries, those used last first",
		Description: "Repositories are named by their number at GitHub, and mirrored registries by their name.\n\nExamples:\n" +
			"   runnerctl cache ls\n" +
			"   runnerctl cache ls -o json",
		Flags: append(flags.Config(), flags.Output(), flags.Color(), flags.Host()),
		Action: func(c *cli.Context) (err error) {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			var options caches.List
			if options.JSON, err = flags.JSON(c); err != nil {
				return err
			}
			return options.Run(c.Context, s)
		},
	}}
}
