package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/logs"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
)

type eventsOptions struct {
	logs.Events
	json  bool
	theme ui.Theme
}

func eventsCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "events",
		Category: "Look inside",
		Usage:    "show the events of the fleet's supervisor",
		Description: "Examples:\n" +
			"   runnerctl events -f\n" +
			"   runnerctl events -o json",
		Flags: append(flags.Config(),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "follow new events until Ctrl-C"},
			flags.Color(), flags.Output()),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := eventsOptions{Events: logs.Events{Fleet: loaded.Name, Follow: c.Bool("follow")}}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return runEvents(c.Context, s, options)
		},
	}}
}

func runEvents(ctx context.Context, s session.Session, options eventsOptions) error {
	show := view.Events(s.Streams.Out, options.theme)
	if options.json {
		show = view.EventsJSON(s.Streams.Out)
	}
	return options.Read(ctx, s, show)
}
