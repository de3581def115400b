package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// followPause is the time between two looks at a fleet that is not yet in its desired state.
const followPause = time.Second

// eventsPause is the time between two looks at the supervisor's events.
const eventsPause = 2 * time.Second

// HandOver gives a fleet's supervisor a new desired state, and follows it.
type HandOver struct {
	Place
	Targets    session.Targets  // of the fleet's settings
	Container  Container        // of a supervisor in the background
	Foreground bool             // the supervisor runs in the foreground
	Limit      time.Duration    // without progress
	Show       session.Progress // shows the runners that come and go
}

// Run returns when the fleet is in the desired state. It returns a *NotConvergedError if nothing
// has changed for as long as a runner may take.
func (h HandOver) Run(ctx context.Context, desired fleet.Desired) error {
	name := desired.Spec.Fleet
	state := h.Engine.State(name)
	seen, err := state.Events(ctx)
	if err != nil {
		return err
	}
	if !h.Foreground {
		err = h.Start(ctx, h.Container, desired)
	} else if err = state.SaveDesired(ctx, desired); err == nil {
		err = h.Engine.Reload(ctx, name)
	}
	if err != nil {
		return err
	}
	watched, read := newWatched(h.Show), time.Now()
	late := &NotConvergedError{fleet: name}
	for {
		short, err := h.look(ctx, desired, watched)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && short == "":
			return nil
		case access.Denied(err):
			return err
		case err != nil:
			late.short, late.cause = "the fleet can't be observed", err.Error()
		default:
			late.short = short
		}
		if time.Since(read) >= eventsPause {
			now, err := state.Events(ctx)
			if err != nil {
				return session.Interrupted(ctx, err)
			}
			for _, event := range fleet.EventsAfter(seen, now) {
				if event.Kind == fleet.FailedEvent || event.Kind == fleet.BackOffEvent {
					late.cause, late.lines = event.Text, event.Last
					h.Show.Failed(watched.end(event), errors.New(event.Text))
				}
			}
			if len(now) > 0 {
				seen = now
			}
			read = time.Now()
		}
		found, err := h.Engine.Supervisor(ctx, name)
		if err != nil {
			return session.Interrupted(ctx, err)
		}
		if found.ContainerID == "" {
			return ErrEnded
		}
		if late.after = time.Since(watched.changed); late.after > h.Limit {
			return late
		}
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

// look reports how the fleet differs from the desired state.
func (h HandOver) look(ctx context.Context, desired fleet.Desired, watched *watched) (short string, err error) {
	runners, err := h.Engine.Known(ctx, desired.Spec.Fleet)
	if err != nil {
		return "", err
	}
	if _, _, err := h.Targets.Join(ctx, desired.Spec.Fleet, runners); err != nil {
		return "", err
	}
	for i, runner := range runners {
		if runner.Serving() && !runner.Busy && !watched.ready[runner.Name] {
			runners[i].Ready = h.Engine.Look(ctx, runner).Ready
		}
		runners[i].Ready = runners[i].Ready || watched.ready[runner.Name]
	}
	watched.see(runners)
	return desired.Short(runners), nil
}

// watched prints a line for each runner of a fleet that comes or goes.
type watched struct {
	show    session.Progress
	since   map[string]time.Time // first seen
	ready   map[string]bool
	changed time.Time // when a runner last became ready, or went
}

func newWatched(show session.Progress) *watched {
	return &watched{show: show, since: map[string]time.Time{}, ready: map[string]bool{}, changed: time.Now()}
}

func (w *watched) see(runners []fleet.Runner) {
	there := map[string]bool{}
	for _, runner := range runners {
		name := runner.Name
		there[name] = true
		if w.since[name].IsZero() {
			w.since[name] = time.Now()
		}
		switch {
		case w.ready[name]:
		case runner.Serving() && (runner.Ready || runner.Busy):
			text := "ready"
			if runner.Busy {
				text = "has a job"
			}
			w.ready[name], w.changed = true, time.Now()
			w.show.Done(name, text, time.Since(w.since[name]))
		case runner.State == fleet.Running && runner.Start != fleet.Spare:
			w.show.Working(name, "starting")
		}
	}
	for name, first := range w.since {
		if !there[name] {
			w.show.Done(name, "removed", time.Since(first))
			delete(w.since, name)
			delete(w.ready, name)
			w.changed = time.Now()
		}
	}
}

// end stops watching the runner whose end an event reports. It returns the runner's name, or
// the supervisor's.
func (w *watched) end(event fleet.Event) string {
	if event.Runner == "" {
		return "supervisor"
	}
	delete(w.since, event.Runner)
	return event.Runner
}

// NotConvergedError reports a fleet that its supervisor does not bring to the desired state.
type NotConvergedError struct {
	fleet, short string
	after        time.Duration
	cause        string // the supervisor's last trouble; "" if it reported none
	lines        []string
}

func (e *NotConvergedError) Error() string {
	return fmt.Sprintf("fleet %s did not converge: no progress for %s: %s", e.fleet, ui.Duration(e.after), e.short)
}

// Cause returns the supervisor's last reported trouble.
func (e *NotConvergedError) Cause() string { return e.cause }

// Last returns the last log lines of a runner that failed.
func (e *NotConvergedError) Last() []string { return e.lines }
