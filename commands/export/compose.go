package export

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/session"
)

func composeCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "compose",
		Usage: "write a project for docker compose",
		Description: "Compose restarts containers but does not replace them, so the runners take many jobs each and are cleaned after each job.\n\nExamples:\n" +
			"   runnerctl export compose --image $(runnerctl build) --out compose\n" +
			"   runnerctl export compose --image registry.example.com/runner:1 --out compose",
		Flags:  toolFlags(),
		Action: func(c *cli.Context) error { return tool(c, s, export.Compose) },
	}}
}
