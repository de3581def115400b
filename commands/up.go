package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/advice"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
)

func upCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "up",
		Category: "Run",
		Usage:    "create or update the fleet and wait until every runner is ready",
		Description: "With a target and one job a runner, up starts a supervisor that maintains the fleet: a small container on the engine.\n\nExamples:\n" +
			"   runnerctl up --count 3\n" +
			"   runnerctl up --target https://github.com/acme/api --count 3\n" +
			"   runnerctl up --attach\n" +
			"   runnerctl up --prove\n" +
			"   runnerctl up --dry-run",
		Flags: slices.Concat(flags.Config(), flags.Build(), flags.GitHub(), flags.Desired(), supervisorFlags(), flags.Supervisor(), []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			&cli.BoolFlag{Name: "prove", Usage: "first start a runner whose Docker daemon must answer, even if the image is known to work on this engine", Category: "Plan"},
			flags.Color(),
		}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			fleet, err := flags.Fleet(c, s)
			if err != nil {
				return err
			}
			options := lifecycle.Up{Fleet: fleet, DryRun: c.Bool("dry-run"), Prove: c.Bool("prove"), CountGiven: c.IsSet("count")}
			if options.Supervisor, err = supervisorOptions(c, fleet.Settings); err != nil {
				return err
			}
			return runUp(c.Context, s, options)
		},
	}}
}

func supervisorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "no-supervisor", Usage: "run without a supervisor; removes an existing one and keeps its runners", DefaultText: "true without a target and with runners.ephemeral: false", EnvVars: []string{"RUNNERCTL_NO_SUPERVISOR"}, Category: "Supervisor"},
		&cli.BoolFlag{Name: "attach", Usage: "show the supervisor's log; Ctrl-C stops the fleet, as down does", Category: "Supervisor"},
		&cli.StringFlag{Name: "supervisor-binary", Usage: "`FILE` of its program: a static runnerctl for the engine's machine", DefaultText: "runnerctl-linux-ARCH next to this program, or this program", EnvVars: []string{"RUNNERCTL_SUPERVISOR_BINARY"}, Category: "Supervisor"},
	}
}

// supervisorOptions reads the flags that concern the supervisor.
func supervisorOptions(c *cli.Context, settings config.Config) (options lifecycle.Supervisor, err error) {
	options = lifecycle.Supervisor{Wanted: settings.Target != "" && settings.Runners.Ephemeral, Refused: c.Bool("no-supervisor"), Attach: c.Bool("attach"), Program: c.String("supervisor-binary")}
	if c.IsSet("no-supervisor") {
		options.Wanted = !options.Refused
	}
	wrong := func(problem string) error { return &cmdline.UsageError{Command: "up", Problem: problem} }
	switch {
	case options.Wanted && settings.Target == "":
		return options, wrong("--no-supervisor=false: one in the background needs a target; runnerctl supervise does without")
	case options.Attach && !options.Wanted:
		return options, wrong("--attach: this fleet has no supervisor, since it has no target, or runners.ephemeral: false, or --no-supervisor")
	}
	options.Output, err = flags.SupervisorOutput(c)
	return options, err
}

// runUp adds to up's errors how to go on.
func runUp(ctx context.Context, s session.Session, options lifecycle.Up) error {
	options.Report = func(s session.Session, err error) { advice.Print(s.Streams.Err, options.Theme, err) }
	err := options.RunEverywhere(ctx, s)
	var count *lifecycle.CountError
	if errors.As(err, &count) {
		return hint.Add(&cmdline.UsageError{Command: "up", Problem: err.Error()}, "--host NAME --count N, or a count: of each in the file's hosts:")
	}
	return err
}
