package export

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/export"
)

func ecsCommand() cmdline.Command {
	return cmdline.Command{Command: &cli.Command{
		Name:  "ecs",
		Usage: "explain why Amazon ECS can't run these runners",
		Description: "The command always fails, with the options of a container that ECS lacks.\n\nExamples:\n" +
			"   runnerctl export ecs\n" +
			"   runnerctl export ecs 2>reasons.txt",
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			return export.ErrECS
		},
	}}
}
