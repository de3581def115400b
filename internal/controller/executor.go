package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
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

// executor executes actions. It decides nothing: the plan and the policy do.
type executor struct {
	engine   fleet.Engine
	targets  fleet.Targets
	desired  fleet.Desired
	progress Progress
	slots    chan struct{}
	watches  map[string]*watch
	store    fleet.Store // of records; nil: none are made
	sample   *rate.Limiter
	cacheUse func(ctx context.Context, runner string) (*fleet.CacheUse, error) // nil: the fleet has no cache
}

// executor returns an executor for the present desired state.
func (l *loop) executor() *executor {
	x := &executor{engine: l.Engine, targets: l.Targets, desired: l.desired, progress: l.Progress, slots: l.slots, watches: map[string]*watch{}, store: l.Store, sample: l.sample}
	if l.desired.Cache != nil {
		x.cacheUse = l.CacheUse
	}
	for url, one := range l.witnesses {
		x.watches[url] = one.watch
	}
	return x
}

// takeSlot takes a slot and returns a function that releases it. A caller must release its slot
// before it takes another, also in undo: otherwise ten callers could wait for each other
// forever.
func (x *executor) takeSlot(name, text string) func() {
	x.slots <- struct{}{}
	x.progress.Working(name, text)
	return sync.OnceFunc(func() { <-x.slots })
}

// create makes a runner of the desired spec and waits until it can take jobs. A spare is
// ready sooner.
func (x *executor) create(ctx context.Context, o fleet.Operation) (runner fleet.Runner, text string, post postMortem, err error) {
	if o.Start == fleet.Spare {
		return x.createSpare(ctx, o)
	}
	release := x.takeSlot(o.Name, "creating")
	defer release()
	if ctx.Err() != nil {
		return runner, "", post, ctx.Err()
	}
	spec := x.desired.Spec
	wanted := fleet.Runner{Name: o.Name, Fleet: spec.Fleet, Agent: spec.Agent}
	credential, err := x.register(ctx, wanted)
	if err != nil {
		return runner, "", post, err
	}
	runner, err = x.engine.Create(ctx, wanted.Name, spec, o.Start, credential)
	if err != nil {
		release()
		post, undone := x.undo(ctx, wanted, o.Cause)
		return runner, "", post, errors.Join(err, undone)
	}
	runner.Agent = spec.Agent
	x.progress.Working(runner.Name, "waiting for the inner daemon")
	text, err = x.await(ctx, runner, release)
	if err != nil {
		release()
		post, err = x.giveUp(ctx, runner, o.Cause, err)
	} else if o.Start == fleet.Prove {
		_ = x.engine.Prove(ctx, spec.ImageID) // else the next runner proves it
	}
	return runner, text, post, err
}

// createSpare makes a runner that is ready except for its agent's credential.
func (x *executor) createSpare(ctx context.Context, o fleet.Operation) (runner fleet.Runner, text string, post postMortem, err error) {
	release := x.takeSlot(o.Name, "creating a spare")
	defer release()
	if ctx.Err() != nil {
		return runner, "", post, ctx.Err()
	}
	if runner, err = x.engine.Create(ctx, o.Name, x.desired.Spec, fleet.Spare, secret.Text{}); err != nil {
		return runner, "", post, err
	}
	runner.Agent, runner.State, runner.Start, runner.Waiting = x.desired.Spec.Agent, fleet.Running, fleet.Spare, true
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, x.desired.Ready)
	defer cancel()
	version, err := x.engine.WaitReady(bounded, runner)
	if err != nil {
		err = &fleet.NotReadyError{Runner: o.Name, After: time.Since(started), Err: err, Lines: x.last(ctx, runner)}
		post, undone := x.removeAndRecord(context.WithoutCancel(ctx), runner, o.Cause, x.engine.RemoveAtOnce)
		return runner, "", post, errors.Join(err, undone)
	}
	runner.Ready, runner.DockerVersion = true, version
	return runner, runner.Daemon(), post, nil
}

// give turns a spare into a runner that takes jobs. The runner stays a spare if GitHub issued
// no credential.
func (x *executor) give(ctx context.Context, o fleet.Operation) (text string, stays bool, post postMortem, err error) {
	runner := o.Runner
	release := x.takeSlot(runner.Name, "giving its credential")
	defer release()
	if ctx.Err() != nil {
		return "", true, post, ctx.Err()
	}
	credential, err := x.register(ctx, runner)
	if err != nil {
		return "", true, post, err
	}
	if err = x.engine.Give(ctx, runner, credential, x.desired.Spec); err != nil {
		release()
		post, undone := x.undo(ctx, runner, o.Cause)
		return "", false, post, errors.Join(err, undone)
	}
	if text, err = x.await(ctx, runner, release); err != nil {
		release()
		post, err = x.giveUp(ctx, runner, o.Cause, err)
	}
	return text, false, post, err
}

// adopt waits until a runner that another process made is ready. If a spare already has a
// registration, its credential was issued but never delivered.
func (x *executor) adopt(ctx context.Context, runner fleet.Runner) (text string, waiting bool, err error) {
	if runner.Start != fleet.Spare {
		text, err = x.await(ctx, runner, func() {})
		return text, false, err
	}
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, x.desired.Ready)
	defer cancel()
	version, err := x.engine.WaitReady(bounded, runner)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", false, ctx.Err()
	case err != nil:
		text, err = x.notReady(ctx, runner, started, err)
		return text, false, err
	}
	looked := x.engine.Look(ctx, runner)
	if !looked.Waiting {
		runner.Ready, runner.DockerVersion = true, version
		text, err = x.await(ctx, runner, func() {})
		return text, false, err
	}
	runner.DockerVersion = version
	return runner.Daemon(), true, x.unregister(ctx, runner)
}

// await waits until a runner's inner daemon answers and GitHub lists it. It calls answered
// between the two, because waiting for GitHub puts no load on the engine.
func (x *executor) await(ctx context.Context, runner fleet.Runner, answered func()) (string, error) {
	started := time.Now()
	bounded, cancel := context.WithDeadline(ctx, started.Add(x.desired.Ready))
	defer cancel()
	if !runner.Ready {
		var err error
		runner.DockerVersion, err = x.engine.WaitReady(bounded, runner)
		switch {
		case err != nil && ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return x.notReady(ctx, runner, started, err)
		}
	}
	answered()
	text := runner.Daemon()
	if x.watches[runner.Agent.URL] == nil {
		return text, nil
	}
	seen, err := x.awaitOnline(ctx, bounded, runner, started)
	return text + ", " + seen, err
}

// notReady explains why the daemon did not answer. A runner that got a job at once may have
// finished before its daemon answered.
func (x *executor) notReady(ctx context.Context, runner fleet.Runner, started time.Time, cause error) (string, error) {
	if runner.Agent.Mode != fleet.NoAgent {
		if text, err := x.checkEnded(ctx, runner); text != "" || err != nil {
			return text, err
		}
	}
	return "", &fleet.NotReadyError{Runner: runner.Name, After: time.Since(started), Err: cause, Lines: x.last(ctx, runner)}
}

// replace removes a runner that GitHub did not list as connected, unless that has changed.
func (x *executor) replace(ctx context.Context, o fleet.Operation) (text string, stays bool, post postMortem, err error) {
	github, err := x.githubOf(o.Runner.Agent)
	if err != nil {
		return "", false, post, err
	}
	bounded, cancel := context.WithTimeout(ctx, cleanUpLimit)
	defer cancel()
	found, err := github.Find(bounded, o.Name)
	if err != nil {
		return "", false, post, err
	}
	if found != nil && (found.Online || found.Busy) {
		return "", true, post, nil
	}
	return x.dismiss(ctx, o)
}

// dismiss removes a runner, unless it has a job.
func (x *executor) dismiss(ctx context.Context, o fleet.Operation) (text string, stays bool, post postMortem, err error) {
	if o.Runner.State.Ended() && !x.desired.Policy.Once {
		post, err = x.removeEnded(ctx, o)
		return "", false, post, err
	}
	text, post, err = x.remove(ctx, o)
	return text, text == staysBusy, post, err
}

// removeEnded removes a runner that ended by itself. GitHub unregisters a runner that had its one
// job. A registration that can't be removed now is found in GitHub's list later.
func (x *executor) removeEnded(ctx context.Context, o fleet.Operation) (post postMortem, err error) {
	runner := o.Runner
	defer x.takeSlot(runner.Name, "removing")()
	if ctx.Err() != nil {
		return post, ctx.Err()
	}
	post, err = x.removeAndRecord(ctx, runner, o.Cause, x.engine.Remove)
	if err != nil || runner.ExitCode == 0 && runner.Agent.OneJob() {
		return post, err
	}
	_ = x.unregister(ctx, runner)
	return post, nil
}

const staysBusy = "stays, it has a job"

// remove first removes a runner's registration at GitHub. If GitHub refuses, the runner has a
// job; a runner without a registration gets none.
func (x *executor) remove(ctx context.Context, o fleet.Operation) (text string, post postMortem, err error) {
	runner := o.Runner
	release := x.takeSlot(runner.Name, "stopping")
	defer func() { release() }()
	if ctx.Err() != nil {
		return "", post, ctx.Err()
	}
	err = x.unregister(ctx, runner)
	var busy *fleet.BusyError
	if errors.As(err, &busy) && !x.desired.Policy.Force && runner.State == fleet.Running {
		if x.desired.Policy.JobWait == 0 {
			return staysBusy, post, nil
		}
		release()
		if err := x.drain(ctx, runner); err != nil {
			return "", post, err
		}
		busy = nil
		release = x.takeSlot(runner.Name, "stopping")
	} else if err != nil && busy == nil {
		return "", post, err
	}
	if busy != nil && runner.State == fleet.Running {
		if err := x.engine.Cancel(ctx, runner); err != nil {
			return "", post, err
		}
	}
	if post, err = x.removeAndRecord(ctx, runner, o.Cause, x.engine.Remove); err != nil {
		return "", post, err
	}
	text, err = x.afterwards(ctx, runner, busy != nil)
	return text, post, err
}

// afterwards removes a registration that GitHub refused to remove before, or that the agent
// made at its last moment.
func (x *executor) afterwards(ctx context.Context, runner fleet.Runner, refused bool) (string, error) {
	if x.targets[runner.Agent.URL] == nil || !refused && runner.Agent.Mode != fleet.Token {
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
			return x.reportLeft(runner.Agent.URL, runner.Name, "GitHub takes it to be busy still")
		case <-time.After(pause):
		}
	}
}

// reportLeft reports a registration that stays: as an error if this execution is final, else as
// text.
func (x *executor) reportLeft(url, name, why string) (string, error) {
	if x.desired.Policy.Down {
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
	lines := fleet.Meaningful(x.engine.LastLines(context.WithoutCancel(ctx), runner, 2*lastLines))
	return lines[max(0, len(lines)-lastLines):]
}

// giveUp removes a runner that never became ready. A supervisor leaves the runner alone if the
// wait was canceled: the next supervisor adopts it.
func (x *executor) giveUp(ctx context.Context, runner fleet.Runner, cause string, err error) (postMortem, error) {
	if !x.desired.Policy.Once && errors.Is(ctx.Err(), context.Canceled) {
		return postMortem{}, ctx.Err()
	}
	post, undone := x.undo(ctx, runner, cause)
	return post, errors.Join(err, undone)
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
func (x *executor) undo(ctx context.Context, runner fleet.Runner, cause string) (post postMortem, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	defer x.takeSlot(runner.Name, "removing")()
	err = x.unregister(ctx, runner)
	var busy *fleet.BusyError
	switch {
	case errors.As(err, &busy):
		return post, nil
	case errors.Is(err, fleet.ErrDenied) && runner.ContainerID != "":
		return post, fmt.Errorf("runner %s stays, as its registration does: %w", runner.Name, err)
	case runner.ContainerID == "":
		return post, err
	}
	remove := x.engine.RemoveAtOnce
	if err != nil { // it may have a job
		remove = x.engine.Remove
	}
	post, taken := x.removeAndRecord(ctx, runner, cause, remove)
	_, late := x.afterwards(ctx, runner, false)
	return post, errors.Join(err, taken, late)
}

// githubOf returns the GitHub client of an agent; nil for NoAgent, or with Force if there is no access.
func (x *executor) githubOf(agent fleet.Agent) (fleet.GitHub, error) {
	if agent.Mode == fleet.NoAgent {
		return nil, nil
	}
	github := x.targets[agent.URL]
	if github == nil && !x.desired.Policy.Force {
		return nil, fmt.Errorf("no access to %s", agent.URL)
	}
	return github, nil
}
