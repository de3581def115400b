package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// Observer is told how each operation goes on; calls may come side by side.
type Observer interface {
	Working(name, text string)
	Done(name, text string, took time.Duration)
	Failed(name string, err error)
}

// atOnce bounds how many runners are made or removed side by side: the engine
// itself is the limit, and past this only its own queues grow.
const atOnce = 10

const (
	cleanUpLimit = 90 * time.Second
	lastLines    = 8
)

// Execute carries a plan out, side by side, and returns when every created and
// kept runner is ready. What fails is removed again; the others go on.
// When ctx ends, all that this call created is removed.
func Execute(ctx context.Context, engine Engine, plan Plan, spec Spec, readyTimeout time.Duration, observer Observer) error {
	var mu sync.Mutex
	var failures []error
	var made []Runner
	group := new(errgroup.Group)
	group.SetLimit(atOnce)
	for _, operation := range plan.Operations {
		group.Go(func() error {
			started := time.Now()
			text, created, err := carryOut(ctx, engine, operation, spec, readyTimeout, observer)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				if ctx.Err() == nil {
					observer.Failed(operation.Name, err)
				}
				return nil
			}
			if created != nil {
				made = append(made, *created)
			}
			observer.Done(operation.Name, text, time.Since(started))
			return nil
		})
	}
	_ = group.Wait() // failures are gathered, not raced
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), removeAll(ctx, engine, made, observer))
	}
	return errors.Join(failures...)
}

func carryOut(ctx context.Context, engine Engine, operation Operation, spec Spec, readyTimeout time.Duration, observer Observer) (string, *Runner, error) {
	if ctx.Err() != nil {
		return "", nil, ctx.Err()
	}
	switch operation.Action {
	case Remove:
		observer.Working(operation.Name, "stopping")
		return "removed", nil, engine.Remove(ctx, operation.Runner)
	case Keep:
		if operation.Runner.Ready {
			return "daemon " + operation.Runner.DockerVersion, nil, nil
		}
		version, err := waitReady(ctx, engine, operation.Runner, readyTimeout)
		return "daemon " + version, nil, err
	default:
		observer.Working(operation.Name, "creating")
		runner, err := engine.Create(ctx, operation.Name, spec, secret.Text{})
		if err != nil {
			return "", nil, err
		}
		observer.Working(operation.Name, "waiting for the inner daemon")
		version, err := waitReady(ctx, engine, runner, readyTimeout)
		if err != nil {
			return "", nil, errors.Join(err, removeAll(ctx, engine, []Runner{runner}, observer))
		}
		return "daemon " + version, &runner, nil
	}
}

func waitReady(ctx context.Context, engine Engine, runner Runner, limit time.Duration) (string, error) {
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	version, err := engine.WaitReady(bounded, runner)
	if err == nil || ctx.Err() != nil {
		return version, err
	}
	lines := engine.LastLines(context.WithoutCancel(ctx), runner, lastLines)
	return "", &NotReadyError{Runner: runner.Name, After: time.Since(started), Err: err, Lines: lines}
}

// removeAll cleans up also when ctx has ended, within a limit of its own.
func removeAll(ctx context.Context, engine Engine, runners []Runner, observer Observer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	var mu sync.Mutex
	var failures []error
	group := new(errgroup.Group)
	group.SetLimit(atOnce)
	for _, runner := range runners {
		group.Go(func() error {
			observer.Working(runner.Name, "removing")
			err := engine.Remove(ctx, runner)
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, err)
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(failures...)
}
