package commands

import (
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/demo"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// simCommand is for developing runnerctl, or for seeing it at work without GitHub.
func simCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "sim",
		Category: "More",
		Usage:    "run a stand-in GitHub until Ctrl-C, for development",
		Hidden:   true,
		Description: "Prints its target, the files of its CA and of a token, and then the results of the jobs.\n\nExamples:\n" +
			"   runnerctl sim --jobs workflow.yaml\n" +
			"   runnerctl sim --jobs workflow.yaml --runner-address 172.17.0.1:0",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "jobs", Usage: "queue the jobs of a workflow `FILE`: name, runs-on, env, container, steps with run"},
			&cli.StringFlag{Name: "address", Usage: "`HOST:PORT` of the API, TLS", Value: "127.0.0.1:0"},
			&cli.StringFlag{Name: "runner-address", Usage: "`HOST:PORT` for runners; the address of a Docker bridge reaches containers", Value: "127.0.0.1:0"},
			&cli.StringFlag{Name: "repository", Usage: "`OWNER/REPO` that has the jobs", Value: "acme/api"},
			&cli.BoolFlag{Name: "public", Usage: "the repository is public"},
			flags.Color(),
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options := demo.Sim{
				Server:     ghsim.Options{Address: c.String("address"), RunnerAddress: c.String("runner-address")},
				Repository: c.String("repository"), Visibility: ghsim.Private, Jobs: c.String("jobs"),
			}
			if c.Bool("public") {
				options.Visibility = ghsim.Public
			}
			var err error
			if options.Theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return options.Run(c.Context, s)
		},
	}, offline: true}
}
