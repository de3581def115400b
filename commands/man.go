package commands

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/session"
)

func manCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "man",
		Category: "More",
		Usage:    "print the man page (roff)",
		Hidden:   true,
		Description: "Examples:\n" +
			"   runnerctl man | man -l -\n" +
			"   runnerctl man > runnerctl.1",
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			cmdline.From(c).WriteMan(s.Streams.Out)
			return nil
		},
	}, offline: true}
}
