package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/caches"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/status"
	"github.com/runnerctl/runnerctl/internal/view"
)

type psOptions struct {
	status.Query
	json bool
}

func psCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "ps",
		Category: "Run",
		Usage:    "list runners",
		Description: "Examples:\n" +
			"   runnerctl ps\n" +
			"   runnerctl ps --all -o json",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show the runners of every fleet on this engine"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only names", Category: "Output"},
			flags.Output(),
		}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := psOptions{Query: status.Query{Settings: loaded, Fleet: loaded.Name, NamesOnly: c.Bool("quiet"), Warn: printWarning}}
			if c.Bool("all") {
				options.Fleet = ""
			}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			return runPs(c.Context, s, options)
		},
	}}
}

func runPs(ctx context.Context, s session.Session, options psOptions) error {
	runners, failed := options.Runners(ctx, s)
	switch {
	case runners == nil: // the only host failed
		return failed
	case options.NamesOnly:
		view.WriteNames(s.Streams.Out, runners)
	case options.json:
		return errors.Join(flags.WriteJSON(s.Streams.Out, runners), failed)
	default:
		view.WriteRunners(s.Streams.Out, runners, len(s.Each()) > 1, time.Now())
		if options.Settings.Cache.Size > 0 {
			caches.WriteCounts(ctx, s)
		}
	}
	return failed
}

// printWarning prints on stderr, in one line, a problem that belongs to no row.
func printWarning(s session.Session, err error) {
	text := hint.Line(err)
	var absent *status.AbsentSupervisorError
	if errors.As(err, &absent) {
		text += "; run runnerctl up to restart it"
	}
	fmt.Fprintln(s.Streams.Err, text)
}
