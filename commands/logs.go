package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/logs"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/view"
)

type logsOptions struct {
	logs.Runners
	style view.LogStyle
}

func logsCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "logs",
		Category:  "Look inside",
		Usage:     "show the logs of runners: start, containerd, dockerd and agent",
		ArgsUsage: "[NAME…]",
		Description: "Without a NAME, shows the logs of the whole fleet in order of time. For a removed runner, shows the log that its supervisor kept.\n\nExamples:\n" +
			"   runnerctl logs -f\n" +
			"   runnerctl logs --source dockerd --since 10m ci-7k2p",
		Flags: append(flags.Config(),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "follow the logs until Ctrl-C, or until every runner has ended"},
			&cli.IntFlag{Name: "tail", Usage: "show the last `N` lines of each runner", DefaultText: "all"},
			&cli.StringFlag{Name: "since", Usage: "show lines since `TIME`: a duration (10m) or RFC 3339"},
			&cmdline.Choice{Flag: &cli.StringSliceFlag{Name: "source", Usage: "show only this `SOURCE`, or several separated by commas: " + strings.Join(fleet.Sources, ", ") + "; for a removed runner also " + fleet.Diagnostics}, Candidates: cmdline.Candidates{Words: fleet.Sources}},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "show timestamps", Category: "Output"},
			flags.Color(), flags.Output()),
		Action: func(c *cli.Context) error {
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := logsOptions{
				Runners: logs.Runners{Fleet: loaded.Name, Names: unique(c.Args().Slice()...), Follow: c.Bool("follow"), Tail: -1, Sources: c.StringSlice("source")},
				style:   view.LogStyle{Timestamps: c.Bool("timestamps")},
			}
			wrong := func(format string, args ...any) error {
				return &cmdline.UsageError{Command: "logs", Problem: fmt.Sprintf(format, args...)}
			}
			if c.IsSet("tail") {
				if options.Tail = c.Int("tail"); options.Tail < 0 {
					return wrong("--tail %d: expected 0 or more", options.Tail)
				}
			}
			for _, source := range options.Sources {
				if !slices.Contains(fleet.Sources, source) && source != fleet.Diagnostics {
					return wrong("--source %q: expected %s, %s", source, strings.Join(fleet.Sources, ", "), fleet.Diagnostics)
				}
			}
			if text := c.String("since"); text != "" {
				if options.Since, err = parseSince(text, time.Now()); err != nil {
					return wrong("--since %q: expected a duration (10m) or RFC 3339 (2006-01-02T15:04:05Z)", text)
				}
			}
			if options.style.JSON, err = flags.JSON(c); err != nil {
				return err
			}
			if options.style.Theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return runLogs(c.Context, s, options)
		},
	}, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Most: anyNumber}}
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Parse(time.RFC3339, text)
}

func runLogs(ctx context.Context, s session.Session, options logsOptions) error {
	err := options.Read(ctx, s, func(names []string) func(fleet.LogLine) {
		return view.Log(s.Streams.Out, names, options.style)
	})
	var none *logs.NoRunnersError
	if errors.As(err, &none) {
		return hint.Add(err, "runnerctl up creates runners, runnerctl ps --all lists the runners of all fleets")
	}
	return err
}
