package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/status"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
)

type inspectOptions struct {
	name  string
	json  bool
	theme ui.Theme
}

func inspectCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "inspect",
		Category:  "Look inside",
		Usage:     "show details of a runner, also of a removed one",
		ArgsUsage: "NAME",
		Description: "Examples:\n" +
			"   runnerctl inspect ci-7k2p\n" +
			"   runnerctl inspect -o json ci-7k2p | jq .phases",
		Flags: []cli.Flag{flags.Color(), flags.Output()},
		Action: func(c *cli.Context) (err error) {
			if c.NArg() != 1 {
				return &cmdline.UsageError{Command: "inspect", Problem: "specify one runner: runnerctl inspect NAME"}
			}
			options := inspectOptions{name: c.Args().First()}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return runInspect(c.Context, s, options)
		},
	}, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Most: 1}}
}

func runInspect(ctx context.Context, s session.Session, options inspectOptions) error {
	details, record, err := status.Inspect(ctx, s, options.name)
	switch {
	case err != nil:
		return err
	case record != nil && options.json:
		return flags.WriteJSON(s.Streams.Out, record)
	case options.json:
		return flags.WriteJSON(s.Streams.Out, details)
	case record != nil:
		view.WriteRecord(s.Streams.Out, record, diagnosticsOf(record.Name), options.theme)
	default:
		view.WriteDetails(s.Streams.Out, details, options.theme)
	}
	return nil
}

// diagnosticsOf returns the command that shows the log files of a removed runner's agent.
func diagnosticsOf(name string) string {
	return "runnerctl logs --source " + fleet.Diagnostics + " " + name
}
