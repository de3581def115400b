// Package controller is the reconcile loop. It observes a fleet, lets fleet.Reconcile decide,
// and acts until the fleet has converged (up, down) or for ever (a supervisor). It decides
// nothing itself, and imports only fleet and packages without knowledge of runners.
package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Controller brings one fleet to its desired state.
type Controller struct {
	Fleet    string
	Engine   fleet.Engine
	Targets  fleet.Targets // by target URL
	NewName  func() string // returns a random name, which may be taken
	Progress Progress      // nil: not reported

	// For Supervise only.
	Store fleet.Store
	// Rebuild rebuilds the image of a desired state with the newest agent, and returns the Desired with that
	// image. It returns a NotHereError if the image can't be rebuilt here.
	Rebuild func(ctx context.Context, desired fleet.Desired) (fleet.Desired, error)
	// KeepCache starts the host's cache of a desired state if it does not run, and reports whether it
	// did so.
	KeepCache func(ctx context.Context, desired fleet.Desired) (started bool, err error)
	// CacheUse returns the use of the host's cache by a runner that has ended; nil: it did not use it.
	CacheUse func(ctx context.Context, runner string) (*fleet.CacheUse, error)
	Reload   <-chan struct{}   // signals that the Desired may have changed
	Observe  func(fleet.Event) // called with each event when it happens; nil: not called
	Meter    fleet.Meter       // nil: no metrics
}

// Progress shows the progress of operations to a user. Calls may be concurrent.
type Progress interface {
	Working(name, text string)
	Done(name, text string, took time.Duration)
	Failed(name string, err error)
}

// Silent is a Progress that shows nothing.
type Silent struct{}

// Working implements Progress.
func (Silent) Working(string, string) {}

// Done implements Progress.
func (Silent) Done(string, string, time.Duration) {}

// Failed implements Progress.
func (Silent) Failed(string, error) {}

// ListError reports that the runners of targets could not be listed, so nothing was done.
type ListError struct {
	URLs []string
	Err  error
}

func (e *ListError) Error() string { return e.Err.Error() }

// Unwrap returns GitHub's error.
func (e *ListError) Unwrap() error { return e.Err }

// NoDesiredStateError reports that there is no desired state to supervise.
type NoDesiredStateError struct{ Fleet string }

func (e *NoDesiredStateError) Error() string {
	return fmt.Sprintf("fleet %s has no desired state to maintain", e.Fleet)
}

// Converge brings the fleet to a desired state whose policy is Once. It returns when every
// runner of it is ready: the inner daemon answers and, if there is an agent, GitHub lists it
// online. A runner that fails is removed again, and nothing more is made; the other operations
// continue. When ctx ends, Converge removes all runners that it made, except those that have a
// job.
func (c Controller) Converge(ctx context.Context, desired fleet.Desired) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	return newLoop(life, c, desired).converge(ctx)
}

// Plan returns the first plan of Converge. It changes nothing.
func (c Controller) Plan(ctx context.Context, desired fleet.Desired) (fleet.Plan, error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	l := newLoop(life, c, desired)
	if err := l.observe(ctx); err != nil {
		return fleet.Plan{}, err
	}
	if err := l.settle(ctx); err != nil {
		return fleet.Plan{}, err
	}
	return fleet.Reconcile(l.observation()), nil
}

// Create makes single runners without an agent, which belong to no desired state, and waits
// until they are ready. Of desired, only the spec and the time limit matter. If that fails for one
// of them, it is removed; if ctx ends, all are.
func (c Controller) Create(ctx context.Context, desired fleet.Desired, names ...string) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	desired.Policy.Once = true
	l := newLoop(life, c, desired)
	for _, name := range names {
		l.begin(ctx, fleet.Operation{Action: fleet.Create, Name: name, Cause: "on its own"})
	}
	return l.finish(ctx)
}

// Supervise keeps a fleet in its stored desired state until ctx ends, which is not an error:
// it then winds up the operations in progress and leaves the runners. It acts on engine
// events, when an operation ends, when the Desired may have changed, and once a minute.
func (c Controller) Supervise(ctx context.Context) error {
	desired, err := c.Store.Desired(ctx)
	if err != nil {
		return err
	}
	if desired == nil {
		return &NoDesiredStateError{Fleet: c.Fleet}
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	newLoop(life, c, *desired).supervise(ctx, life, stop)
	return nil
}
