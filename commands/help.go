package commands

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func helpCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "help",
		Category:  "More",
		Usage:     "show help for all commands or for one",
		ArgsUsage: "[COMMAND…]",
		Description: "Examples:\n" +
			"   runnerctl help\n" +
			"   runnerctl help up\n" +
			"   runnerctl help host drain",
		Action: func(c *cli.Context) error {
			return cmdline.From(c).WriteHelp(s.Streams.Out, c.Args().Slice())
		},
	}, arguments: cmdline.Candidates{Kind: cmdline.Commands}, offline: true}
}
