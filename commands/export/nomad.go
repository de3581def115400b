package export

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/session"
)

func nomadCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "nomad",
		Usage: "write a Nomad job",
		Description: "The job runs docker by the driver raw_exec, because Nomad's driver for Docker can't unmask a container's /proc.\n\nExamples:\n" +
			"   runnerctl export nomad --image $(runnerctl build) --out nomad\n" +
			"   runnerctl export nomad --image registry.example.com/runner:1 --out nomad",
		Flags:  toolFlags(),
		Action: func(c *cli.Context) error { return tool(c, s, export.Nomad) },
	}}
}
