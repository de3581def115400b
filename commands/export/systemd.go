package export

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/session"
)

func systemdCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "systemd",
		Usage: "write a systemd unit that runs a container for each start",
		Description: "Each instance of the unit is a runner. It gets a new container after each end.\n\nExamples:\n" +
			"   runnerctl export systemd --image $(runnerctl build) --out systemd\n" +
			"   runnerctl export systemd --image registry.example.com/runner:1 --out systemd",
		Flags:  toolFlags(),
		Action: func(c *cli.Context) error { return tool(c, s, export.Systemd) },
	}}
}
