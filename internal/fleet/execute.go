package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Observer receives the progress of each operation. Calls may be concurrent.
type Observer interface {
	Working(name, text string)
	Done(name, text string, took time.Duration)
	Failed(name string, err error)
}

// Options configure an execution.
type Options struct {
	Spec    Spec
	Ready   time.Duration // time limit for a runner's daemon to answer and its agent to connect
	Wait    time.Duration // time limit for jobs of runners to be removed; 0: these runners stay
	Force   bool          // don't wait for jobs: they are lost
	NewName func() string // names runners beyond the plan's; nil: there are none. Called concurrently
}

// final reports whether no later execution is expected to clean up after this one.
func (o Options) final() bool { return o.Wait > 0 || o.Force }

// atOnce limits how many runners are made or removed in parallel. The engine itself is the
// bottleneck: beyond this, only its queues grow. Waiting for GitHub or for a job does not
// count.
const atOnce = 10

const (
	cleanUpLimit = 90 * time.Second
	lastLines    = 8
	// noticeLimit is how long GitHub may take to notice that a runner has ended: some seconds
	// after a job, and after a crash until the lease of its job has expired.
	noticeLimit = 100 * time.Second
)

// Execute carries a plan out in parallel, and returns when every created and kept runner is
// ready: its inner daemon answers and, if it has an agent, GitHub lists it online. A runner
// that fails is removed again; the others continue. When ctx ends, Execute removes all runners
// that it created, except those that have a job.
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
			result, err := x.carryOut(ctx, operation)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				if ctx.Err() == nil {
					observer.Failed(result.name, err)
				}
				return
			}
			if result.made != nil {
				made = append(made, *result.made)
			}
			observer.Done(result.name, result.text, time.Since(started))
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
	farewell func(context.Context, Runner) // called before a container is removed; nil: not called
	adopted  bool                          // runners with a credential stay when ctx ends, for later adoption
}

// takeAway removes a runner's container and volume with the given method of the engine, Remove
// or RemoveAtOnce.
func (x *execution) takeAway(ctx context.Context, runner Runner, remove func(context.Context, Runner) error) error {
	if x.farewell != nil {
		x.farewell(ctx, runner)
	}
	return remove(ctx, runner)
}

// working takes a slot and returns a function that releases it. A caller must release its slot
// before it takes another, also in undo: otherwise ten callers could wait for each other
// forever.
func (x *execution) working(name, text string) func() {
	x.slots <- struct{}{}
	x.observer.Working(name, text)
	return sync.OnceFunc(func() { <-x.slots })
}

// outcome is the result of an operation. name is the runner's final name, which may differ
// from the planned one.
type outcome struct {
	name, text string
	made       *Runner
}

func (x *execution) carryOut(ctx context.Context, operation Operation) (outcome, error) {
	result := outcome{name: operation.Name}
	var err error
	switch operation.Action {
	case Remove:
		result.text, err = x.remove(ctx, operation.Runner)
	case Forget:
		result.text, err = x.forget(ctx, operation.Registration)
	case Leave:
		result.text, err = x.left(operation.Registration.URL, operation.Name, operation.Cause)
	case Keep:
		return x.keep(ctx, operation.Runner)
	default:
		return x.create(ctx, operation.Name)
	}
	return result, err
}

// drawings is how many names a runner may try until one is free.
const drawings = 3

func (x *execution) create(ctx context.Context, name string) (outcome, error) {
	release := x.working(name, "creating")
	defer release()
	result := outcome{name: name}
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	spec := x.options.Spec
	wanted := Runner{Name: name, Fleet: spec.Fleet, Agent: spec.Agent}
	credential, err := x.register(ctx, wanted)
	for drawn := 1; errors.Is(err, ErrNameTaken) && x.options.NewName != nil && drawn < drawings; drawn++ {
		result.name = x.options.NewName()
		x.observer.Done(wanted.Name, "the name is taken at GitHub, "+result.name+" instead", 0)
		x.observer.Working(result.name, "creating")
		wanted.Name = result.name
		credential, err = x.register(ctx, wanted)
	}
	if err != nil {
		return result, err
	}
	runner, err := x.engine.Create(ctx, wanted.Name, spec, credential)
	if err != nil {
		release()
		return result, errors.Join(err, x.undo(ctx, wanted))
	}
	runner.Agent = spec.Agent
	x.observer.Working(runner.Name, "waiting for the inner daemon")
	result.text, err = x.await(ctx, runner, release)
	if err != nil {
		release()
		return result, x.giveUp(ctx, runner, err)
	}
	result.made = &runner
	return result, nil
}

// keep waits until a runner is ready. It replaces a runner whose agent GitHub does not see in
// all that time, which would look idle forever, and a runner that ends because a killed
// runnerctl never delivered its credential.
func (x *execution) keep(ctx context.Context, runner Runner) (outcome, error) {
	result := outcome{name: runner.Name}
	if runner.Ready && runner.hasJob() {
		result.text = "daemon " + runner.DockerVersion + ", has a job"
		return result, nil
	}
	started := time.Now()
	var err error
	result.text, err = x.await(ctx, runner, func() {})
	var late *NotOnlineError
	var ended *EndedError
	why := ""
	switch {
	case errors.As(err, &ended):
		why = "it ended: " + ended.Cause()
	case errors.As(err, &late) && late.Err == nil:
		why = "GitHub showed it as " + string(late.State) + " all the time"
	}
	if why == "" || x.options.NewName == nil {
		return result, err
	}
	if result.text, err = x.remove(ctx, runner); err != nil || result.text == staysBusy {
		return result, err
	}
	x.observer.Done(runner.Name, "removed: "+why, time.Since(started))
	return x.create(ctx, x.options.NewName())
}

// await waits until a runner's inner daemon answers and GitHub lists it. It calls answered
// between the two, because waiting for GitHub puts no load on the engine.
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

// notReady explains why the daemon did not answer. A runner that got a job at once may have
// finished before its daemon answered.
func (x *execution) notReady(ctx context.Context, runner Runner, started time.Time, cause error) (string, error) {
	if runner.Agent.Mode != NoAgent {
		if text, err := x.ended(ctx, runner); text != "" || err != nil {
			return text, err
		}
	}
	return "", &NotReadyError{Runner: runner.Name, After: time.Since(started), Err: cause, Lines: x.last(ctx, runner)}
}

const staysBusy = "stays, it has a job"

// remove first removes a runner's registration at GitHub. If GitHub refuses, the runner has a
// job; a runner that is no longer registered gets none.
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
			return staysBusy, nil
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
	if err := x.takeAway(ctx, runner, x.engine.Remove); err != nil {
		return "", err
	}
	return x.afterwards(ctx, runner, busy != nil)
}

// afterwards removes a registration that GitHub refused to remove before, or that the agent
// made at its last moment.
func (x *execution) afterwards(ctx context.Context, runner Runner, refused bool) (string, error) {
	if x.forges[runner.Agent.URL] == nil || !refused && runner.Agent.Mode != Token {
		return "removed", nil
	}
	bounded, cancel := context.WithTimeout(ctx, noticeLimit)
	defer cancel()
	for pause := time.Second; ; pause = min(pause*2, slowLook) {
		err := x.unregister(bounded, runner) // runs to completion, even if interrupted
		var busy *BusyError
		if !errors.As(err, &busy) {
			return "removed", err
		}
		x.observer.Working(runner.Name, "waiting for GitHub to notice its end")
		select {
		case <-bounded.Done():
			return x.left(runner.Agent.URL, runner.Name, "GitHub takes it to be busy still")
		case <-time.After(pause):
		}
	}
}

// left reports a registration that stays: as an error if this execution is final, else as
// text.
func (x *execution) left(url, name, why string) (string, error) {
	if x.options.final() {
		return "", &LeftError{Name: name, URL: url, Why: why}
	}
	return "its registration stays until the next up or down: " + why, nil
}

// LeftError reports that a registration outlives its runner.
type LeftError struct{ Name, URL, Why string }

func (e *LeftError) Error() string {
	return fmt.Sprintf("runner %s stays registered at %s: %s", e.Name, e.URL, e.Why)
}

// Hint suggests what to do.
func (e *LeftError) Hint() string {
	return "runnerctl down removes it once GitHub shows it as offline and idle, within minutes; no runner of this engine has it any more"
}

func (x *execution) last(ctx context.Context, runner Runner) []string {
	lines := Telling(x.engine.LastLines(context.WithoutCancel(ctx), runner, lastLines+len(usual)))
	return lines[max(0, len(lines)-lastLines):]
}

// giveUp removes a runner that never became ready. It leaves the runner alone if the wait was
// canceled and another supervisor will adopt the runner.
func (x *execution) giveUp(ctx context.Context, runner Runner, err error) error {
	if x.adopted && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return errors.Join(err, x.undo(ctx, runner))
}

// undo removes runners that this execution made, also after ctx has ended, within its own time
// limit. A runner that got a job meanwhile stays. So does one whose registration the
// credential may no longer remove: half a runner would be worse than a whole one.
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
			switch {
			case errors.As(err, &busy):
				return
			case errors.Is(err, ErrDenied) && runner.ContainerID != "":
				failures[i] = fmt.Errorf("runner %s stays, as its registration does: %w", runner.Name, err)
				return
			}
			if runner.ContainerID != "" {
				remove := x.engine.RemoveAtOnce
				if err != nil { // it may have a job
					remove = x.engine.Remove
				}
				err = errors.Join(err, x.takeAway(ctx, runner, remove))
				_, late := x.afterwards(ctx, runner, false)
				err = errors.Join(err, late)
			}
			failures[i] = err
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// forgeOf returns the Forge of an agent; nil for NoAgent, or with Force if there is no access.
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
