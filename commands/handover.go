package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/program"
	"github.com/runnerctl/runnerctl/internal/secret"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// heir holds everything that a supervisor in the background is made of.
type heir struct {
	options    dockerx.SupervisorOptions
	credential secret.Text
}

// heir gathers these parts, or reports what is missing; it makes nothing. binary is the file
// of the supervisor's program, "" for the usual one.
func (h host) heir(ctx context.Context, d deps, loaded config.Config, binary string, tell telling) (heir, error) {
	if h.github == nil {
		return heir{}, errors.New("a supervisor in the background needs a target")
	}
	told, err := h.engine.Facts(ctx)
	if err != nil {
		return heir{}, fmt.Errorf("engine: %w", err)
	}
	found := heir{options: dockerx.SupervisorOptions{Fleet: loaded.Name, Roots: access.SystemRoots(), Socket: engineSocket(h.endpoint), Command: []string{insideName, loaded.Name, tell.logFormat, tell.metrics}}}
	if found.options.Program, err = program.ForSupervisor(binary, told.Arch); err != nil {
		return heir{}, err
	}
	given, err := d.opener().Document(ctx, loaded, h.github)
	if err != nil {
		return heir{}, err
	}
	found.credential, err = given.Text()
	return found, err
}

// leaveSupervisor hands the fleet to a supervisor on the fleet's own engine, or the wish to
// the supervisor that already exists. The caller must hold the fleet's lock.
func (h host) leaveSupervisor(ctx context.Context, d deps, loaded config.Config, wish fleet.Wish, binary string, tell telling) error {
	found, err := h.heir(ctx, d, loaded, binary, tell)
	if err != nil {
		return err
	}
	return h.entrust(ctx, found, wish)
}

// beginLimit is how long a supervisor may take to begin.
const beginLimit = 30 * time.Second

// entrust returns when the supervisor has begun. Once started, entrust itself runs to its end
// even if ctx ends: stopping halfway would leave a fleet without a supervisor. A supervisor
// that does not begin is removed again.
func (h host) entrust(ctx context.Context, to heir, wish fleet.Wish) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	name := to.options.Fleet
	before, err := h.engine.Supervisor(whole, name)
	if err != nil {
		return err
	}
	if err := h.engine.State(name).SaveWish(whole, wish); err != nil {
		return err
	}
	if err := h.engine.StartSupervisor(whole, to.options, to.credential); err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		now, err := h.engine.Supervisor(whole, name)
		if err != nil || now.ContainerID == before.ContainerID {
			return err
		}
		var log bytes.Buffer
		if err := h.engine.SupervisorLog(whole, name, dockerx.LogOptions{Tail: -1}, &log); err != nil {
			return err
		}
		switch {
		case strings.Contains(log.String(), controller.Began):
			return nil
		case now.Restarts > 0, !now.Running, time.Since(begun) > beginLimit:
			failed := &notBegunError{fleet: name, lines: strings.Split(strings.TrimSpace(log.String()), "\n")}
			return errors.Join(failed, h.engine.StopSupervisor(whole, name))
		}
	}
}

// notBegunError reports a supervisor that did not begin.
type notBegunError struct {
	fleet string
	lines []string
}

func (e *notBegunError) Error() string {
	return fmt.Sprintf("the supervisor of fleet %s does not begin; it is taken away again", e.fleet)
}

// Last returns the supervisor's last log lines.
func (e *notBegunError) Last() []string { return e.lines[max(0, len(e.lines)-8):] }

// Hint suggests what to do.
func (e *notBegunError) Hint() string {
	return "its runners are there: runnerctl up --no-supervisor leaves them alone, runnerctl down removes them"
}

// wishPause is the time between two looks at a fleet that is not yet in its desired state.
const wishPause = time.Second

// handOver gives a fleet's supervisor a new wish. It waits until the fleet is in the desired
// state, or until nothing has changed for as long as a runner may take.
func (h host) handOver(ctx context.Context, d deps, options upOptions, before dockerx.SupervisorState, to heir, wish fleet.Wish) error {
	name := options.config.Name
	state := h.engine.State(name)
	told, err := state.Events(ctx)
	if err != nil {
		return err
	}
	if !before.Foreground {
		err = h.entrust(ctx, to, wish)
	} else if err = state.SaveWish(ctx, wish); err == nil {
		err = h.engine.Reload(ctx, name)
	}
	if err != nil {
		return err
	}
	show := newProgress(d, options.build.progress, options.theme)
	defer show.Close()
	watched, read := newWatched(show), time.Now()
	late := &notWishedError{fleet: name}
	for {
		short, err := h.look(ctx, d, options.config, wish, watched)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && short == "":
			return nil
		case access.Denied(err):
			return err
		case err != nil:
			late.short, late.cause = "it can't be seen", err.Error()
		default:
			late.short = short
		}
		if time.Since(read) >= eventsPause {
			now, err := state.Events(ctx)
			if err != nil {
				return interrupted(ctx, err)
			}
			for _, event := range since(told, now) {
				if event.Kind == fleet.FailedEvent || event.Kind == fleet.BackOffEvent {
					late.cause, late.lines = event.Text, event.Last
					show.Failed(watched.end(event), errors.New(event.Text))
				}
			}
			if len(now) > 0 {
				told = now
			}
			read = time.Now()
		}
		found, err := h.engine.Supervisor(ctx, name)
		if err != nil {
			return interrupted(ctx, err)
		}
		if found.ContainerID == "" {
			return errTakenAway
		}
		if late.after = time.Since(watched.changed); late.after > options.timeout {
			return late
		}
		select {
		case <-ctx.Done():
		case <-time.After(wishPause):
		}
	}
}

// look reports what the fleet lacks.
func (h host) look(ctx context.Context, d deps, loaded config.Config, wish fleet.Wish, watched *watched) (short string, err error) {
	runners, err := h.engine.Known(ctx, loaded.Name)
	if err != nil {
		return "", err
	}
	if _, _, err := joinGitHub(ctx, d, h.engine, loaded, loaded.Name, runners, h.github); err != nil {
		return "", err
	}
	for i, runner := range runners {
		if runner.Serving() && !runner.Busy && !watched.ready[runner.Name] {
			runners[i].Ready = h.engine.Look(ctx, runner).Ready
		}
		runners[i].Ready = runners[i].Ready || watched.ready[runner.Name]
	}
	watched.see(runners)
	return wish.Short(runners), nil
}

// watched prints a line for each runner of a fleet that comes or goes.
type watched struct {
	show    progress
	since   map[string]time.Time // first seen
	ready   map[string]bool
	changed time.Time // when a runner last became ready, or went
}

func newWatched(show progress) *watched {
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
		case runner.State == fleet.Running && !runner.Spare:
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

// notWishedError reports a fleet that its supervisor does not bring to the desired state.
type notWishedError struct {
	fleet, short string
	after        time.Duration
	cause        string // the supervisor's last trouble; "" if it reported none
	lines        []string
}

func (e *notWishedError) Error() string {
	return fmt.Sprintf("fleet %s is not as wished, and nothing happened for %s: %s", e.fleet, ui.Duration(e.after), e.short)
}

// Cause returns the supervisor's last reported trouble.
func (e *notWishedError) Cause() string { return e.cause }

// Last returns the last log lines of a runner that failed.
func (e *notWishedError) Last() []string { return e.lines }

// Hint suggests what to do.
func (e *notWishedError) Hint() string {
	return "its supervisor goes on: runnerctl events -f shows what it does; a slow start is given more time by runners.readyTimeout"
}
