package export

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
	"github.com/runnerctl/runnerctl/internal/session"
)

func dockerRunCommand(s session.Session) cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "docker-run",
		Usage: "write a script that starts a runner with docker run",
		Description: "The script runs one runner until it ends, and removes it.\n\nExamples:\n" +
			"   runnerctl export docker-run --image $(runnerctl build) --out docker-run\n" +
			"   runnerctl export docker-run --image registry.example.com/runner:1 --out docker-run",
		Flags:  toolFlags(),
		Action: func(c *cli.Context) error { return tool(c, s, export.DockerRun) },
	}}
}
