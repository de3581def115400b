package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type eventsOptions struct {
	fleet  string
	follow bool
	json   bool
	theme  ui.Theme
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
			options := eventsOptions{fleet: loaded.Name, follow: c.Bool("follow")}
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

// eventsPause is the time between two looks of --follow.
const eventsPause = 2 * time.Second

func runEvents(ctx context.Context, s session.Session, options eventsOptions) error {
	engine, _, err := s.Connect()
	if err != nil {
		return err
	}
	defer engine.Close()
	state := engine.State(options.fleet)
	events, err := state.Events(ctx)
	if err != nil {
		return session.Interrupted(ctx, err)
	}
	if len(events) == 0 && !options.follow {
		return noEvents(ctx, s, engine, options.fleet)
	}
	show := printEvents(s.Streams.Out, options)
	show(events)
	for options.follow {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(eventsPause):
		}
		now, err := state.Events(ctx)
		if err != nil {
			return session.Interrupted(ctx, err)
		}
		show(fleet.EventsAfter(events, now))
		if len(now) > 0 {
			events = now
		}
	}
	return nil
}

func noEvents(ctx context.Context, s session.Session, engine *dockerx.Engine, name string) error {
	found, err := engine.Supervisor(ctx, name)
	if err != nil {
		return session.Interrupted(ctx, err)
	}
	if found.ContainerID == "" {
		fmt.Fprintf(s.Streams.Err, "fleet %s has no supervisor, and no events\n", name)
		return nil
	}
	fmt.Fprintf(s.Streams.Err, "the supervisor of fleet %s has no events yet\n", name)
	return nil
}

// printEvents prints one line per event, and the last log lines of a runner that failed.
func printEvents(out io.Writer, options eventsOptions) func([]fleet.Event) {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return func(events []fleet.Event) {
		for _, event := range events {
			if options.json {
				_ = encoder.Encode(event) // a closed pipe ends the program
				continue
			}
			fmt.Fprintf(out, "%s  %s\n", options.theme.Dim(event.Time.Format("2006-01-02T15:04:05Z")), ui.Plain(event.String()))
			for _, line := range event.Last {
				fmt.Fprintf(out, "    %s\n", options.theme.Dim(ui.Plain(line)))
			}
		}
	}
}
