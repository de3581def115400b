package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// register returns a runner's credential; an empty one if it has no agent.
func (x *executor) register(ctx context.Context, runner fleet.Runner) (secret.Text, error) {
	github, err := x.githubOf(runner.Agent)
	if err != nil || github == nil {
		return secret.Text{}, err
	}
	return github.Register(ctx, runner.Name, runner.Agent)
}

// unregister removes a runner's registration, if there is one. Once started it runs to
// completion, like the removal of the runner.
func (x *executor) unregister(ctx context.Context, runner fleet.Runner) error {
	github, err := x.githubOf(runner.Agent)
	if err != nil || github == nil {
		return err
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	found, err := github.Find(bounded, runner.Name)
	if err != nil || found == nil {
		return err
	}
	return github.Unregister(bounded, *found)
}

func (x *executor) forget(ctx context.Context, registration fleet.Registration) (string, error) {
	defer x.takeSlot(registration.Name, "removing its registration")()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	err := x.targets[registration.URL].Unregister(ctx, registration)
	var busy *fleet.BusyError
	if errors.As(err, &busy) {
		return x.reportLeft(registration.URL, registration.Name, "it has a job")
	}
	return "registration removed", err
}

// awaitOnline waits until GitHub lists the runner as online, or bounded ends. A list that fails is
// tried again. It returns the result as text.
func (x *executor) awaitOnline(ctx, bounded context.Context, runner fleet.Runner, started time.Time) (string, error) {
	x.progress.Working(runner.Name, "waiting for GitHub to list it online")
	watched := x.watches[runner.Agent.URL]
	watched.hurry()
	state := fleet.NotListed
	var failed error
	for {
		list, err := watched.next(bounded)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case bounded.Err() != nil:
			return "", &fleet.NotOnlineError{Runner: runner.Name, URL: runner.Agent.URL, State: state, After: time.Since(started), Err: failed, Lines: x.last(ctx, runner)}
		case errors.Is(err, fleet.ErrDenied):
			return "", err
		}
		if failed = err; err == nil {
			one, listed := list[runner.Name]
			if listed && (one.Online || one.Busy) {
				return "online", nil
			}
			if state = fleet.NotListed; listed {
				state = fleet.Offline
			}
		}
		if text, err := x.checkEnded(ctx, runner); err != nil || text != "" {
			return text, err
		}
	}
}

// checkEnded checks whether the agent has ended. It may already have had its one job.
func (x *executor) checkEnded(ctx context.Context, runner fleet.Runner) (string, error) {
	code, ended, err := x.engine.Ended(ctx, runner)
	switch {
	case err != nil || !ended:
		return "", err
	case code == 0 && runner.Agent.OneJob():
		return "had its job already", nil
	}
	return "", &fleet.EndedError{Runner: runner.Name, Code: code, Lines: x.last(ctx, runner)}
}

// drain waits for the end of a runner's job and unregisters the runner before it gets another.
// If GitHub fails meanwhile, drain tries again.
func (x *executor) drain(ctx context.Context, runner fleet.Runner) error {
	x.progress.Working(runner.Name, "waiting for its job")
	bounded, cancel := context.WithTimeout(ctx, x.desired.Policy.JobWait)
	defer cancel()
	watched := x.watches[runner.Agent.URL]
	watched.hurry()
	var failed error
	for {
		list, err := watched.next(bounded)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case bounded.Err() != nil:
			return &StillBusyError{Runner: runner.Name, After: x.desired.Policy.JobWait, Err: failed}
		}
		if err == nil && !list[runner.Name].Busy {
			if err = x.unregister(ctx, runner); err == nil {
				return nil
			}
		}
		var busy *fleet.BusyError
		switch failed = err; {
		case errors.Is(err, fleet.ErrDenied):
			return err
		case errors.As(err, &busy):
			failed = nil
		}
	}
}

// StillBusyError reports that a runner's job took longer than the wait limit.
type StillBusyError struct {
	Runner string
	After  time.Duration
	Err    error // why GitHub's latest list is not available; nil if it is
}

// Unwrap returns GitHub's error.
func (e *StillBusyError) Unwrap() error { return e.Err }

// Cause explains why nothing newer is known.
func (e *StillBusyError) Cause() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *StillBusyError) Error() string {
	return fmt.Sprintf("runner %s: its job has not ended within %s", e.Runner, e.After)
}
