package commands

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/demo"
	"github.com/runnerctl/runnerctl/internal/session"
)

func demoCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "demo",
		Category: "More",
		Usage:    "run a demo: doctor, build, a stand-in GitHub, three runners, nine jobs with Docker in three waves, down",
		Description: "Exits 1 if any result is not as expected.\n\nExamples:\n" +
			"   runnerctl demo\n" +
			"   runnerctl demo --bootstrap-base -o json",
		Flags: slices.Concat([]cli.Flag{
			flags.ConfigFile(),
			&cli.StringFlag{Name: "agent", Usage: "`FILE` with the agent for the image", DefaultText: "the test agent next to runnerctl, built by make agent", EnvVars: []string{"RUNNERCTL_DEMO_AGENT"}, Category: "Settings"},
		}, flags.Build(), []cli.Flag{flags.Output(), flags.Color()}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := demo.Options{Settings: demo.Settings(loaded), Agent: c.String("agent"), Waves: demo.Waves()}
			if options.JSON, err = flags.JSON(c); err != nil {
				return err
			}
			if options.Build, err = flags.BuildOptions(c); err != nil {
				return err
			}
			if options.Theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return options.Run(c.Context, s)
		},
	}}
}
