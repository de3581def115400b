package host

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/prepare"
	"github.com/runnerctl/runnerctl/internal/session"
)

func cloudInitCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "cloud-init",
		Usage: "print user-data that prepares a VM at its first boot",
		Description: "The user-data does the same as prepare, without doctor's fixes (Debian 12 and 13, Ubuntu 22.04 and 24.04, Amazon Linux 2023).\n\nExamples:\n" +
			"   runnerctl host cloud-init >user-data\n" +
			"   runnerctl host cloud-init --allow-metadata >user-data",
		Flags: []cli.Flag{allowMetadata()},
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			return prepare.WriteCloudInit(s.Streams.Out, c.Bool("allow-metadata"))
		},
	}}
}
