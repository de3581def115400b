package commands

import (
	"slices"

	"github.com/urfave/cli/v2"
	_ "golang.org/x/crypto/x509roots/fallback" // for a supervisor whose up found no certificate authorities to pass on

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/supervisor"
)

func superviseCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "supervise",
		Category: "Run",
		Usage:    "maintain the fleet in the foreground until Ctrl-C; its runners stay",
		Description: "Replaces runners that end or hang, and removes registrations without a runner. A fleet has one supervisor at most.\n\nExamples:\n" +
			"   runnerctl supervise --count 3\n" +
			"   runnerctl supervise --target https://github.com/acme/api --log-format json",
		Flags: slices.Concat(flags.Config(), flags.Build(), flags.GitHub(), flags.Desired(), flags.Supervisor(), []cli.Flag{flags.Color()}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			output, err := flags.SupervisorOutput(c)
			if err != nil {
				return err
			}
			fleet, err := flags.Fleet(c, s)
			if err != nil {
				return err
			}
			return lifecycle.Supervise{Fleet: fleet, Output: output}.Run(c.Context, s)
		},
	}}
}

// insideCommand runs in a supervisor's container, which holds this program itself.
func insideCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name: supervisor.Command, Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) != 3 {
				return &cmdline.UsageError{Problem: supervisor.Command + ": expected the fleet, the log's format and the address of the metrics"}
			}
			engine, err := dockerx.Connect(dockerx.Endpoint{Name: "local", Host: "unix://" + dockerx.SupervisorSocket})
			if err != nil {
				return err
			}
			defer engine.Close()
			return supervisor.New(supervisor.Options{
				Engine: engine, Fleet: args[0], Output: supervisor.Output{Format: args[1], Metrics: args[2]},
				Log: s.Streams.Err, Version: s.Version, UserAgent: s.UserAgent(),
			}).Background(c.Context, dockerx.CredentialFile)
		},
	}}
}
