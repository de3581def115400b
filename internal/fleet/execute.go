package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Observer is told how each operation goes on; calls may come side by side.
type Observer interface {
	Working(name, text string)
	Done(name, text string, took time.Duration)
	Failed(name string, err error)
}

// Options of an execution.
type Options struct {
	Spec  Spec
	Ready time.Duration // for a runner's daemon to answer and its agent to connect
	Wait  time.Duration // for jobs of runners that are to go; 0: these stay
	Force bool          // not to wait for jobs: they are lost
}

// atOnce bounds how many runners are made or removed side by side: the engine
// itself is the limit, and past this only its own queues grow. Who waits for
// GitHub or for a job is not counted.
const atOnce = 10

const (
	cleanUpLimit = 90 * time.Second
	lastLines    = 8
	// afterForce is how long GitHub may take to see that a job was cancelled.
	afterForce = 20 * time.Second
)

// Execute carries a plan out, side by side, and returns when every created and
// kept runner is ready: its inner daemon answers and, with an agent, its forge
// lists it online. What fails is removed again; the others go on.
// When ctx ends, all that this call created is removed, but for what has a job.
func Execute(ctx context.Context, engine Engine, forges Forges, plan Plan, options Options, observer Observer) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	x := &execution{engine: engine, forges: forges, options: options, observer: observer, slots: make(chan struct{}, atOnce), watches: map[string]*watch{}}
	for url, forge := range forges {
		x.watches[url] = &watch{forge: forge, life: life}
	}
	var mu sync.Mutex
	var failures []error
	var made []Runner
	var group sync.WaitGroup
	for _, operation := range plan.Operations {
		group.Go(func() {
			started := time.Now()
			text, created, err := x.carryOut(ctx, operation)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				if ctx.Err() == nil {
					observer.Failed(operation.Name, err)
				}
				return
			}
			if created != nil {
				made = append(made, *created)
			}
			observer.Done(operation.Name, text, time.Since(started))
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), x.undo(ctx, made...))
	}
	return errors.Join(failures...)
}

type execution struct {
	engine   Engine
	forges   Forges
	options  Options
	observer Observer
	slots    chan struct{}
	watches  map[string]*watch
}

// working takes one of the slots; the function returned gives it back. Nobody asks
// for a second one before that, undo included: ten who did would wait for each
// other.
func (x *execution) working(name, text string) func() {
	x.slots <- struct{}{}
	x.observer.Working(name, text)
	return sync.OnceFunc(func() { <-x.slots })
}

func (x *execution) carryOut(ctx context.Context, operation Operation) (string, *Runner, error) {
	switch operation.Action {
	case Remove:
		text, err := x.remove(ctx, operation.Runner)
		return text, nil, err
	case Forget:
		text, err := x.forget(ctx, operation.Registration)
		return text, nil, err
	case Keep:
		text, err := x.keep(ctx, operation.Runner)
		return text, nil, err
	default:
		return x.create(ctx, operation.Name)
	}
}

func (x *execution) create(ctx context.Context, name string) (string, *Runner, error) {
	release := x.working(name, "creating")
	defer release()
	if ctx.Err() != nil {
		return "", nil, ctx.Err()
	}
	spec := x.options.Spec
	wanted := Runner{Name: name, Fleet: spec.Fleet, Agent: spec.Agent}
	credential, err := x.register(ctx, wanted)
	if err != nil {
		return "", nil, err
	}
	runner, err := x.engine.Create(ctx, name, spec, credential)
	if err != nil {
		release()
		return "", nil, errors.Join(err, x.undo(ctx, wanted))
	}
	runner.Agent = spec.Agent
	x.observer.Working(name, "waiting for the inner daemon")
	text, err := x.await(ctx, runner, release)
	if err != nil {
		release()
		return "", nil, errors.Join(err, x.undo(ctx, runner))
	}
	return text, &runner, nil
}

func (x *execution) keep(ctx context.Context, runner Runner) (string, error) {
	if runner.Ready && runner.hasJob() {
		return "daemon " + runner.DockerVersion + ", has a job", nil
	}
	return x.await(ctx, runner, func() {})
}

// await waits until a runner's inner daemon answers and its forge lists it. Of
// the second the engine has no work: answered is called before.
func (x *execution) await(ctx context.Context, runner Runner, answered func()) (string, error) {
	started := time.Now()
	bounded, cancel := context.WithDeadline(ctx, started.Add(x.options.Ready))
	defer cancel()
	version := runner.DockerVersion
	if !runner.Ready {
		var err error
		version, err = x.engine.WaitReady(bounded, runner)
		if err != nil && ctx.Err() == nil {
			return x.notReady(ctx, runner, started, err)
		}
		if err != nil {
			return "", err
		}
	}
	answered()
	text := "daemon " + version
	if x.watches[runner.Agent.URL] == nil {
		return text, nil
	}
	seen, err := x.online(ctx, bounded, runner, started)
	return text + ", " + seen, err
}

// notReady tells why. A runner that got a job at once may be through with it before
// its daemon was heard of.
func (x *execution) notReady(ctx context.Context, runner Runner, started time.Time, cause error) (string, error) {
	if runner.Agent.Mode != NoAgent {
		if text, err := x.ended(ctx, runner); text != "" || err != nil {
			return text, err
		}
	}
	return "", &NotReadyError{Runner: runner.Name, After: time.Since(started), Err: cause, Lines: x.last(ctx, runner)}
}

// remove takes a runner from its forge first: a refusal says that it has a job,
// and what is not registered any more gets none.
func (x *execution) remove(ctx context.Context, runner Runner) (string, error) {
	release := x.working(runner.Name, "stopping")
	defer func() { release() }()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	err := x.unregister(ctx, runner)
	var busy *BusyError
	if errors.As(err, &busy) && !x.options.Force && runner.State == Running {
		if x.options.Wait == 0 {
			return "stays, it has a job", nil
		}
		release()
		if err := x.drain(ctx, runner); err != nil {
			return "", err
		}
		busy = nil
		release = x.working(runner.Name, "stopping")
	} else if err != nil && busy == nil {
		return "", err
	}
	if busy != nil && runner.State == Running {
		if err := x.engine.Cancel(ctx, runner); err != nil {
			return "", err
		}
	}
	if err := x.engine.Remove(ctx, runner); err != nil {
		return "", err
	}
	return x.afterwards(ctx, runner, busy != nil)
}

// afterwards removes the registration that was refused to be, or that the agent
// made in its last moment.
func (x *execution) afterwards(ctx context.Context, runner Runner, refused bool) (string, error) {
	if x.forges[runner.Agent.URL] == nil || !refused && runner.Agent.Mode != Token {
		return "removed", nil
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterForce)
	defer cancel()
	for {
		err := x.unregister(bounded, runner)
		var busy *BusyError
		if !errors.As(err, &busy) {
			return "removed", err
		}
		select {
		case <-bounded.Done():
			return "removed, but GitHub takes it to be busy still: the next up or down removes its registration", nil
		case <-time.After(time.Second):
		}
	}
}

func (x *execution) last(ctx context.Context, runner Runner) []string {
	return x.engine.LastLines(context.WithoutCancel(ctx), runner, lastLines)
}

// undo removes what this execution made, also when ctx has ended, within a limit
// of its own. What has got a job meanwhile stays.
func (x *execution) undo(ctx context.Context, runners ...Runner) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	failures := make([]error, len(runners))
	var group sync.WaitGroup
	for i, runner := range runners {
		group.Go(func() {
			defer x.working(runner.Name, "removing")()
			err := x.unregister(ctx, runner)
			var busy *BusyError
			if errors.As(err, &busy) {
				return
			}
			if runner.ContainerID != "" {
				err = errors.Join(err, x.engine.Remove(ctx, runner))
				_, late := x.afterwards(ctx, runner, false)
				err = errors.Join(err, late)
			}
			failures[i] = err
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// forgeOf a runner; nil where it has no agent.
func (x *execution) forgeOf(agent Agent) (Forge, error) {
	if agent.Mode == NoAgent {
		return nil, nil
	}
	forge := x.forges[agent.URL]
	if forge == nil && !x.options.Force {
		return nil, fmt.Errorf("no access to %s", agent.URL)
	}
	return forge, nil
}
