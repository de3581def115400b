package logs

import (
	"context"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Events are the events of a fleet's supervisor.
type Events struct {
	Fleet  string
	Follow bool // also those to come, until ctx ends
}

// eventsPause is the time between two looks of Follow.
const eventsPause = 2 * time.Second

// Read passes the events to show. If there are none, it prints the reason on stderr.
func (e Events) Read(ctx context.Context, s session.Session, show func([]fleet.Event)) error {
	engine, _, err := s.Connect()
	if err != nil {
		return err
	}
	defer engine.Close()
	state := engine.State(e.Fleet)
	events, err := state.Events(ctx)
	if err != nil {
		return session.Interrupted(ctx, err)
	}
	if len(events) == 0 && !e.Follow {
		return e.explain(ctx, s, engine)
	}
	show(events)
	for e.Follow {
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

// explain prints why there are no events.
func (e Events) explain(ctx context.Context, s session.Session, engine *dockerx.Engine) error {
	found, err := engine.Supervisor(ctx, e.Fleet)
	if err != nil {
		return session.Interrupted(ctx, err)
	}
	if found.ContainerID == "" {
		fmt.Fprintf(s.Streams.Err, "fleet %s has no supervisor, and no events\n", e.Fleet)
		return nil
	}
	fmt.Fprintf(s.Streams.Err, "the supervisor of fleet %s has no events yet\n", e.Fleet)
	return nil
}
