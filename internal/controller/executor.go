package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"golang.org/x/time/rate"
)

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
	// createGrace is how long a busy engine may take to create a container, in addition to the
	// runner's own time.
	createGrace = 2 * time.Minute
	// drawings is how many names in a row may be taken until that is an error.
	drawings = 3
)

// executor holds what actions work with. It decides nothing: the policy and the plan do.
type executor struct {
	engine   fleet.Engine
	forges   fleet.Forges
	wish     fleet.Wish
	progress Progress
	slots    chan struct{}
	watches  map[string]*watch
	store    fleet.Store // of records; nil: none are made
	sample   *rate.Limiter
}

// executor returns an executor for the present desired state.
func (l *loop) executor() *executor {
	x := &executor{engine: l.Engine, forges: l.Forges, wish: l.wish, progress: l.Progress, slots: l.slots, watches: map[string]*watch{}, store: l.Store, sample: l.sample}
	for url, one := range l.witnesses {
		x.watches[url] = one.watch
	}
	return x
}

// working takes a slot and returns a function that releases it. A caller must release its slot
// before it takes another, also in undo: otherwise ten callers could wait for each other
// forever.
func (x *executor) working(name, text string) func() {
	x.slots <- struct{}{}
	x.progress.Working(name, text)
	return sync.OnceFunc(func() { <-x.slots })
}

// create makes a runner of the wish's spec and waits until it can take jobs.
func (x *executor) create(ctx context.Context, o fleet.Operation) (runner fleet.Runner, text string, buried burial, err error) {
	release := x.working(o.Name, "creating")
	defer release()
	if ctx.Err() != nil {
		return runner, "", buried, ctx.Err()
	}
	spec := x.wish.Spec
	wanted := fleet.Runner{Name: o.Name, Fleet: spec.Fleet, Agent: spec.Agent}
	credential, err := x.register(ctx, wanted)
	if err != nil {
		return runner, "", buried, err
	}
	runner, err = x.engine.Create(ctx, wanted.Name, spec, credential)
	if err != nil {
		release()
		buried, undone := x.undo(ctx, wanted, o.Cause)
		return runner, "", buried, errors.Join(err, undone)
	}
	runner.Agent = spec.Agent
	x.progress.Working(runner.Name, "waiting for the inner daemon")
	text, err = x.await(ctx, runner, release)
	if err != nil {
		release()
		buried, err = x.giveUp(ctx, runner, o.Cause, err)
	}
	return runner, text, buried, err
}

// makeSpare makes a runner that is ready except for its agent's credential.
func (x *executor) makeSpare(ctx context.Context, o fleet.Operation) (runner fleet.Runner, text string, buried burial, err error) {
	release := x.working(o.Name, "creating a spare")
	defer release()
	if ctx.Err() != nil {
		return runner, "", buried, ctx.Err()
	}
	if runner, err = x.engine.CreateSpare(ctx, o.Name, x.wish.Spec); err != nil {
		return runner, "", buried, err
	}
	runner.Agent, runner.State, runner.Spare = x.wish.Spec.Agent, fleet.Running, true
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, x.wish.Ready)
	defer cancel()
	version, err := x.engine.WaitReady(bounded, runner)
	if err != nil {
		err = &fleet.NotReadyError{Runner: o.Name, After: time.Since(started), Err: err, Lines: x.last(ctx, runner)}
		buried, undone := x.take(context.WithoutCancel(ctx), runner, o.Cause, x.engine.RemoveAtOnce)
		return runner, "", buried, errors.Join(err, undone)
	}
	runner.Ready, runner.DockerVersion = true, version
	return runner, "daemon " + version, buried, nil
}

// give turns a spare into a runner that takes jobs. The runner stays a spare if GitHub issued
// no credential.
func (x *executor) give(ctx context.Context, o fleet.Operation) (text string, stays bool, buried burial, err error) {
	runner := o.Runner
	release := x.working(runner.Name, "giving its credential")
	defer release()
	if ctx.Err() != nil {
		return "", true, buried, ctx.Err()
	}
	credential, err := x.register(ctx, runner)
	if err != nil {
		return "", true, buried, err
	}
	if err = x.engine.Give(ctx, runner, credential, x.wish.Spec); err != nil {
		release()
		buried, undone := x.undo(ctx, runner, o.Cause)
		return "", false, buried, errors.Join(err, undone)
	}
	if text, err = x.await(ctx, runner, release); err != nil {
		release()
		buried, err = x.giveUp(ctx, runner, o.Cause, err)
	}
	return text, false, buried, err
}

// adopt waits until a runner that another process made is ready. If a spare already has a
// registration, its credential was issued but never delivered.
func (x *executor) adopt(ctx context.Context, runner fleet.Runner) (text string, waiting bool, err error) {
	if !runner.Spare {
		text, err = x.await(ctx, runner, func() {})
		return text, false, err
	}
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, x.wish.Ready)
	defer cancel()
	version, err := x.engine.WaitReady(bounded, runner)
	if err != nil && ctx.Err() == nil {
		text, err = x.notReady(ctx, runner, started, err)
	}
	if err != nil || text != "" {
		return text, false, err
	}
	looked := x.engine.Look(ctx, runner)
	if !looked.Waiting {
		runner.Ready, runner.DockerVersion = true, version
		text, err = x.await(ctx, runner, func() {})
		return text, false, err
	}
	return "daemon " + version, true, x.unregister(ctx, runner)
}

// await waits until a runner's inner daemon answers and GitHub lists it. It calls answered
// between the two, because waiting for GitHub puts no load on the engine.
func (x *executor) await(ctx context.Context, runner fleet.Runner, answered func()) (string, error) {
	started := time.Now()
	bounded, cancel := context.WithDeadline(ctx, started.Add(x.wish.Ready))
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
func (x *executor) notReady(ctx context.Context, runner fleet.Runner, started time.Time, cause error) (string, error) {
	if runner.Agent.Mode != fleet.NoAgent {
		if text, err := x.ended(ctx, runner); text != "" || err != nil {
			return text, err
		}
	}
	return "", &fleet.NotReadyError{Runner: runner.Name, After: time.Since(started), Err: cause, Lines: x.last(ctx, runner)}
}

// replace removes a runner that GitHub did not list as connected, unless that has changed.
func (x *executor) replace(ctx context.Context, o fleet.Operation) (text string, stays bool, buried burial, err error) {
	forge, err := x.forgeOf(o.Runner.Agent)
	if err != nil {
		return "", false, buried, err
	}
	bounded, cancel := context.WithTimeout(ctx, cleanUpLimit)
	defer cancel()
	found, err := forge.Find(bounded, o.Name)
	if err != nil {
		return "", false, buried, err
	}
	if found != nil && (found.Online || found.Busy) {
		return "", true, buried, nil
	}
	return x.dismiss(ctx, o)
}

// dismiss removes a runner, unless it has a job.
func (x *executor) dismiss(ctx context.Context, o fleet.Operation) (text string, stays bool, buried burial, err error) {
	if o.Runner.State.Ended() && !x.wish.Policy.Once {
		buried, err = x.bury(ctx, o)
		return "", false, buried, err
	}
	text, buried, err = x.remove(ctx, o)
	return text, text == staysBusy, buried, err
}

// bury removes a runner that ended by itself. GitHub unregisters a runner that had its one
// job. A registration that can't be removed now is found in GitHub's list later.
func (x *executor) bury(ctx context.Context, o fleet.Operation) (buried burial, err error) {
	runner := o.Runner
	defer x.working(runner.Name, "removing")()
	if ctx.Err() != nil {
		return buried, ctx.Err()
	}
	buried, err = x.take(ctx, runner, o.Cause, x.engine.Remove)
	if err != nil || runner.ExitCode == 0 && runner.Agent.OneJob() {
		return buried, err
	}
	_ = x.unregister(ctx, runner)
	return buried, nil
}

const staysBusy = "stays, it has a job"

// remove first removes a runner's registration at GitHub. If GitHub refuses, the runner has a
// job; a runner that is no longer registered gets none.
func (x *executor) remove(ctx context.Context, o fleet.Operation) (text string, buried burial, err error) {
	runner := o.Runner
	release := x.working(runner.Name, "stopping")
	defer func() { release() }()
	if ctx.Err() != nil {
		return "", buried, ctx.Err()
	}
	err = x.unregister(ctx, runner)
	var busy *fleet.BusyError
	if errors.As(err, &busy) && !x.wish.Policy.Force && runner.State == fleet.Running {
		if x.wish.Policy.JobWait == 0 {
			return staysBusy, buried, nil
		}
		release()
		if err := x.drain(ctx, runner); err != nil {
			return "", buried, err
		}
		busy = nil
		release = x.working(runner.Name, "stopping")
	} else if err != nil && busy == nil {
		return "", buried, err
	}
	if busy != nil && runner.State == fleet.Running {
		if err := x.engine.Cancel(ctx, runner); err != nil {
			return "", buried, err
		}
	}
	if buried, err = x.take(ctx, runner, o.Cause, x.engine.Remove); err != nil {
		return "", buried, err
	}
	text, err = x.afterwards(ctx, runner, busy != nil)
	return text, buried, err
}

// afterwards removes a registration that GitHub refused to remove before, or that the agent
// made at its last moment.
func (x *executor) afterwards(ctx context.Context, runner fleet.Runner, refused bool) (string, error) {
	if x.forges[runner.Agent.URL] == nil || !refused && runner.Agent.Mode != fleet.Token {
		return "removed", nil
	}
	bounded, cancel := context.WithTimeout(ctx, noticeLimit)
	defer cancel()
	for pause := time.Second; ; pause = min(pause*2, slowLook) {
		err := x.unregister(bounded, runner) // runs to completion, even if interrupted
		var busy *fleet.BusyError
		if !errors.As(err, &busy) {
			return "removed", err
		}
		x.progress.Working(runner.Name, "waiting for GitHub to notice its end")
		select {
		case <-bounded.Done():
			return x.left(runner.Agent.URL, runner.Name, "GitHub takes it to be busy still")
		case <-time.After(pause):
		}
	}
}

// left reports a registration that stays: as an error if this execution is final, else as
// text.
func (x *executor) left(url, name, why string) (string, error) {
	if x.wish.Policy.Down {
		return "", &LeftError{Name: name, URL: url, Why: why}
	}
	return "its registration stays until the next up or down: " + why, nil
}

// LeftError reports that a registration outlives its runner.
type LeftError struct{ Name, URL, Why string }

func (e *LeftError) Error() string {
	return fmt.Sprintf("runner %s stays registered at %s: %s", e.Name, e.URL, e.Why)
}

func (x *executor) last(ctx context.Context, runner fleet.Runner) []string {
	lines := fleet.Telling(x.engine.LastLines(context.WithoutCancel(ctx), runner, 2*lastLines))
	return lines[max(0, len(lines)-lastLines):]
}

// giveUp removes a runner that never became ready. A supervisor leaves the runner alone if the
// wait was canceled: the next supervisor adopts it.
func (x *executor) giveUp(ctx context.Context, runner fleet.Runner, cause string, err error) (burial, error) {
	if !x.wish.Policy.Once && errors.Is(ctx.Err(), context.Canceled) {
		return burial{}, ctx.Err()
	}
	buried, undone := x.undo(ctx, runner, cause)
	return buried, errors.Join(err, undone)
}

// undoAll removes the runners that a canceled run made.
func (x *executor) undoAll(ctx context.Context, runners []fleet.Runner) error {
	failures := make([]error, len(runners))
	var group sync.WaitGroup
	for i, runner := range runners {
		group.Go(func() { _, failures[i] = x.undo(ctx, runner, "canceled") })
	}
	group.Wait()
	return errors.Join(failures...)
}

// undo removes a runner that this process made, also after ctx has ended, within its own time
// limit. A runner that got a job meanwhile stays. So does one whose registration the
// credential may no longer remove: half a runner would be worse than a whole one.
func (x *executor) undo(ctx context.Context, runner fleet.Runner, cause string) (buried burial, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	defer x.working(runner.Name, "removing")()
	err = x.unregister(ctx, runner)
	var busy *fleet.BusyError
	switch {
	case errors.As(err, &busy):
		return buried, nil
	case errors.Is(err, fleet.ErrDenied) && runner.ContainerID != "":
		return buried, fmt.Errorf("runner %s stays, as its registration does: %w", runner.Name, err)
	case runner.ContainerID == "":
		return buried, err
	}
	remove := x.engine.RemoveAtOnce
	if err != nil { // it may have a job
		remove = x.engine.Remove
	}
	buried, taken := x.take(ctx, runner, cause, remove)
	_, late := x.afterwards(ctx, runner, false)
	return buried, errors.Join(err, taken, late)
}

// forgeOf returns the Forge of an agent; nil for NoAgent, or with Force if there is no access.
func (x *executor) forgeOf(agent fleet.Agent) (fleet.Forge, error) {
	if agent.Mode == fleet.NoAgent {
		return nil, nil
	}
	forge := x.forges[agent.URL]
	if forge == nil && !x.wish.Policy.Force {
		return nil, fmt.Errorf("no access to %s", agent.URL)
	}
	return forge, nil
}
