package commands

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func helpCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "help",
		Category:  "More",
		Usage:     "show help for all commands or for one",
		ArgsUsage: "[COMMAND]",
		Description: "Examples:\n" +
			"   runnerctl help\n" +
			"   runnerctl help up",
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			if c.NArg() > 1 {
				return &cmdline.UsageError{Command: "help", Problem: fmt.Sprintf("unexpected argument %q", c.Args().Get(1))}
			}
			if name == "" {
				cmdline.From(c).WriteOverview(s.Streams.Out)
				return nil
			}
			command := c.App.Command(name)
			if command == nil {
				return cmdline.From(c).UnknownCommand(name)
			}
			cmdline.WriteHelp(s.Streams.Out, command)
			return nil
		},
	}, arguments: cmdline.Candidates{Kind: cmdline.Commands, Most: 1}, offline: true}
}
