package host

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/hosts"
	"github.com/runnerctl/runnerctl/internal/session"
)

func lsCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "ls",
		Usage: "list the hosts, with their runners and engines",
		Description: "Queries every host in hosts: of the file in parallel.\n\nExamples:\n" +
			"   runnerctl host ls\n" +
			"   runnerctl host ls -o json",
		Flags: append(flags.Config(), flags.Output(), flags.Color(), flags.Host()),
		Action: func(c *cli.Context) (err error) {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			var options hosts.List
			if options.Settings, err = flags.Settings(c); err != nil {
				return err
			}
			if options.JSON, err = flags.JSON(c); err != nil {
				return err
			}
			return options.Run(c.Context, s)
		},
	}}
}
