package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/hint"
)

const (
	// autopsyLimit bounds the time to read and save what a runner left.
	autopsyLimit = 30 * time.Second
	// queuedLimit is short because the figure is only nice to have.
	queuedLimit = 5 * time.Second
	// createGrace is how long a busy engine may take to create a container, in addition to the
	// runner's own time.
	createGrace = 2 * time.Minute
	// retryPause is how long to wait before retrying a failed operation on a runner.
	retryPause = 10 * time.Second
)

// step is the execution of one operation.
type step struct {
	*execution
	host SupervisedEngine
}

// result is the outcome of one operation of a supervisor.
type result struct {
	Operation
	begun   time.Time
	text    string
	err     error
	waiting bool    // the runner is a spare
	made    *Runner // the runner, which can take jobs now
	stays   bool    // the runner was left as it was
	record  *Record // of a removed runner

	// For Renew only.
	day     time.Time // first day on which the agent is refused
	rebuild bool      // the image needed a rebuild
	basis   Wish      // the Wish that wish was made from
	wish    *Wish
}

// begin starts an operation in parallel to the loop.
func (l *loop) begin(ctx context.Context, operation Operation) {
	now := time.Now()
	switch operation.Action {
	case Forget:
		l.witnesses[operation.Registration.URL].forgetting[operation.Name] = true
	default:
		s := l.sights[operation.Name]
		if s == nil {
			s = &Sight{Runner: Runner{Name: operation.Name, Fleet: l.Fleet, Agent: l.wish.Spec.Agent, Created: now}, Since: now}
			l.sights[operation.Name] = s
		}
		if operation.Action == Give {
			s.Since = now
		}
		s.Doing = operation.Action
	}
	wish := l.wish
	l.steps.Go(func() {
		l.results <- l.carryOut(ctx, wish, result{Operation: operation, begun: now})
	})
}

// carryOut runs in parallel to the loop, so it uses no notes that the loop changes.
func (l *loop) carryOut(ctx context.Context, wish Wish, r result) result {
	x := &step{host: l.Engine, execution: &execution{
		engine: l.Engine, forges: l.Forges, options: Options{Spec: wish.Spec, Ready: wish.Ready}, observer: Silent{}, slots: l.slots, watches: map[string]*watch{}, adopted: true,
	}}
	for url, one := range l.witnesses {
		x.watches[url] = one.watch
	}
	var kept error
	x.farewell = func(ctx context.Context, runner Runner) {
		r.record = l.autopsy(ctx, runner, r.Cause)
		kept = l.keep(ctx, r.record) // saved before the removal, so that the runner is known at every moment
	}
	switch r.Action {
	case Create, MakeSpare, Give, Adopt:
		// Operations that make a runner have a time limit: GitHub may ask to retry in an hour.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*wish.Ready+createGrace)
		defer cancel()
	}
	switch r.Action {
	case Create:
		var done outcome
		done, r.err = x.create(ctx, r.Name)
		r.text, r.made = done.text, done.made
	case MakeSpare:
		r.Runner, r.text, r.err = x.makeSpare(ctx, r.Name)
		r.waiting = r.err == nil
	case Give:
		r.text, r.stays, r.err = x.give(ctx, r.Runner)
		if r.err == nil {
			r.made = &r.Runner
		}
	case Adopt:
		r.text, r.waiting, r.err = x.adopt(ctx, r.Runner)
		if r.err == nil && !r.waiting {
			r.made = &r.Runner
		}
	case Remove:
		r.text, r.stays, r.err = x.dismiss(ctx, r.Runner)
	case Replace:
		r.text, r.stays, r.err = x.replace(ctx, r.Runner)
	case Forget:
		r.text, r.err = x.forget(ctx, r.Registration)
	}
	if r.record != nil {
		if r.err != nil {
			r.record.Cause = firstLine(r.err)
		}
		l.askQueued(ctx, r.Runner, r.record)
		if kept != nil || r.err != nil || r.record.Queued > 0 {
			kept = l.keep(ctx, r.record)
		}
		if kept != nil {
			r.text = strings.TrimPrefix(r.text+fmt.Sprintf("; what it left is not kept: %v", kept), "; ")
		}
	}
	return r
}

// keep saves a record. It replaces an earlier record of the same runner.
func (l *loop) keep(ctx context.Context, record *Record) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), autopsyLimit)
	defer cancel()
	return l.Store.SaveRecord(bounded, *record)
}

// askQueued adds how long the job was queued. It asks only for a sample of jobs, to save API
// calls.
func (l *loop) askQueued(ctx context.Context, runner Runner, record *Record) {
	forge, tells := l.Forges[runner.Agent.URL].(Queues)
	if !tells || record.JobURL == "" || !l.sample.Allow() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, queuedLimit)
	defer cancel()
	if waited, err := forge.Queued(bounded, record.JobURL, record.Name); err == nil {
		record.Queued = waited.Seconds()
	}
}

// autopsy never fails: a runner that should go is removed even if its remains can't be read.
func (l *loop) autopsy(ctx context.Context, runner Runner, cause string) *Record {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), autopsyLimit)
	defer cancel()
	record, err := l.Engine.Autopsy(bounded, runner)
	if err != nil {
		record = Record{Name: runner.Name, Fleet: runner.Fleet, Image: runner.Image, ImageID: runner.ImageID, SpecHash: runner.SpecHash, Created: runner.Created, ExitCode: runner.ExitCode}
		cause += fmt.Sprintf("; what it left can't be read: %v", err)
	}
	record.Cause = cause
	return &record
}

// makeSpare makes a runner that is ready except for its agent's credential.
func (x *step) makeSpare(ctx context.Context, name string) (Runner, string, error) {
	release := x.working(name, "creating a spare")
	defer release()
	if ctx.Err() != nil {
		return Runner{}, "", ctx.Err()
	}
	runner, err := x.host.CreateSpare(ctx, name, x.options.Spec)
	if err != nil {
		return runner, "", err
	}
	runner.Agent, runner.State, runner.Spare = x.options.Spec.Agent, Running, true
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, x.options.Ready)
	defer cancel()
	version, err := x.engine.WaitReady(bounded, runner)
	if err != nil {
		err = &NotReadyError{Runner: name, After: time.Since(started), Err: err, Lines: x.last(ctx, runner)}
		return runner, "", errors.Join(err, x.takeAway(context.WithoutCancel(ctx), runner, x.engine.RemoveAtOnce))
	}
	runner.Ready, runner.DockerVersion = true, version
	return runner, "daemon " + version, nil
}

// give turns a spare into a runner that takes jobs. The runner stays a spare if GitHub issued
// no credential.
func (x *step) give(ctx context.Context, runner Runner) (text string, stays bool, err error) {
	release := x.working(runner.Name, "giving its credential")
	defer release()
	if ctx.Err() != nil {
		return "", true, ctx.Err()
	}
	credential, err := x.register(ctx, runner)
	if err != nil {
		return "", true, err
	}
	if err = x.host.Give(ctx, runner, credential, x.options.Spec); err != nil {
		release()
		return "", false, errors.Join(err, x.undo(ctx, runner))
	}
	if text, err = x.await(ctx, runner, release); err != nil {
		release()
		return "", false, x.giveUp(ctx, runner, err)
	}
	return text, false, nil
}

// adopt waits until a runner that another process made is ready. If a spare already has a
// registration, its credential was issued but never delivered.
func (x *step) adopt(ctx context.Context, runner Runner) (text string, waiting bool, err error) {
	if !runner.Spare {
		text, err = x.await(ctx, runner, func() {})
		return text, false, err
	}
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, x.options.Ready)
	defer cancel()
	version, err := x.engine.WaitReady(bounded, runner)
	if err != nil && ctx.Err() == nil {
		text, err = x.notReady(ctx, runner, started, err)
	}
	if err != nil || text != "" {
		return text, false, err
	}
	looked := x.host.Look(ctx, runner)
	if !looked.Waiting {
		runner.Ready, runner.DockerVersion = true, version
		text, err = x.await(ctx, runner, func() {})
		return text, false, err
	}
	return "daemon " + version, true, x.unregister(ctx, runner)
}

// replace removes a runner that GitHub did not list as connected, unless that has changed.
func (x *step) replace(ctx context.Context, runner Runner) (text string, stays bool, err error) {
	forge, err := x.forgeOf(runner.Agent)
	if err != nil {
		return "", false, err
	}
	bounded, cancel := context.WithTimeout(ctx, cleanUpLimit)
	defer cancel()
	found, err := forge.Find(bounded, runner.Name)
	if err != nil {
		return "", false, err
	}
	if found != nil && (found.Online || found.Busy) {
		return "", true, nil
	}
	return x.dismiss(ctx, runner)
}

// dismiss removes a runner, unless it has a job.
func (x *step) dismiss(ctx context.Context, runner Runner) (text string, stays bool, err error) {
	if ended[runner.State] {
		return "", false, x.bury(ctx, runner)
	}
	text, err = x.remove(ctx, runner)
	return text, text == staysBusy, err
}

// bury removes a runner that ended by itself. GitHub unregisters a runner that had its one
// job. A registration that can't be removed now is found in GitHub's list later.
func (x *step) bury(ctx context.Context, runner Runner) error {
	defer x.working(runner.Name, "removing")()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := x.takeAway(ctx, runner, x.engine.Remove); err != nil || runner.ExitCode == 0 && runner.Agent.OneJob() {
		return err
	}
	_ = x.unregister(ctx, runner)
	return nil
}

// took processes the result of an operation.
func (l *loop) took(r result) {
	now := time.Now()
	l.settled[r.Name] = now
	event := Event{Runner: r.Name, Took: now.Sub(r.begun).Seconds()}
	switch r.Action {
	case Forget:
		l.forgot(r, event)
		return
	case Renew:
		l.renewed(r, event)
		return
	}
	s := l.sights[r.Name]
	s.Doing = ""
	if r.record != nil && l.Meter != nil {
		l.Meter.Ended(*r.record)
	}
	switch {
	case r.Action == Remove, r.Action == Replace:
		l.removed(r, s, event)
	case r.err != nil && errors.Is(r.err, context.Canceled):
		l.unknown(r)
	case r.err != nil:
		l.failed(r, s, event)
	case r.waiting:
		r.Runner.Listing = nil
		s.Runner, s.Waiting, s.Online, s.Missed = r.Runner, true, time.Time{}, time.Time{}
		event.Kind, event.Text = SpareEvent, "waits as a spare, "+r.text
		l.tell(event)
	default:
		s.became(*r.made, now)
		l.taken = 0
		if l.Meter != nil && r.Action != Adopt {
			l.Meter.Started(now.Sub(r.begun), r.Action == Give)
		}
		event.Kind, event.Text = OnlineEvent, fmt.Sprintf("%s (%s)", r.text, r.Cause)
		l.tell(event)
	}
}

// became records that a runner can take jobs.
func (s *Sight) became(made Runner, now time.Time) {
	if s.ContainerID == "" {
		s.ContainerID = made.ContainerID
	}
	s.State, s.Ready, s.Waiting = Running, true, false
	s.Online, s.Missed = now, time.Time{}
}

// unknown forgets a runner. If it exists, the next look finds it.
func (l *loop) unknown(r result) {
	if r.stays {
		return
	}
	delete(l.sights, r.Name)
}

func (l *loop) failed(r result, s *Sight, event Event) {
	now := time.Now()
	why, last := firstLine(r.err), hint.Last(r.err)
	event.Kind, event.Text, event.Last = FailedEvent, fmt.Sprintf("%s (%s): %s", r.Action, r.Cause, why), last
	if r.Action == Adopt {
		var late *NotOnlineError
		var dead *NotReadyError
		switch {
		case errors.As(r.err, &dead), errors.As(r.err, &late) && late.Err == nil:
			s.Failed = why
		default:
			s.Retry = now.Add(retryPause)
		}
		l.tell(event)
		return
	}
	if errors.Is(r.err, ErrNameTaken) {
		if r.stays {
			s.Failed = "its name is registered already"
		} else {
			l.unknown(r)
		}
		if l.taken++; l.taken < drawings {
			event.Text += ", another one instead"
			l.tell(event)
			return
		}
	} else {
		l.unknown(r)
	}
	l.tell(event)
	l.backOff(r.begun, now, r.Name+": "+why, last)
	l.refused(r.err)
}

func (l *loop) removed(r result, s *Sight, event Event) {
	now := time.Now()
	switch {
	case r.err != nil:
		s.Retry = now.Add(retryPause)
		if !errors.Is(r.err, context.Canceled) {
			event.Kind, event.Text = FailedEvent, fmt.Sprintf("can't be removed (%s): %s", r.Cause, firstLine(r.err))
			l.tell(event)
		}
		return
	case r.stays:
		s.Retry, s.Missed = now.Add(slowTick), time.Time{}
		return
	}
	delete(l.sights, r.Name)
	event.Kind, event.Text = RemovedEvent, r.Cause
	if ended[r.Runner.State] {
		event.Kind = EndedEvent
		l.judge(r, s, &event)
	}
	if r.text != "" && r.text != "removed" {
		event.Text += "; " + r.text
	}
	l.tell(event)
}

// judge adds the facts of a runner's record to its end event, and adjusts the back-off.
func (l *loop) judge(r result, s *Sight, event *Event) {
	record := r.record
	if record == nil {
		return
	}
	if record.HadJob() {
		event.Text += "; job"
		for _, word := range []string{record.Job, record.Conclusion, record.JobURL} {
			if word != "" {
				event.Text += " " + word
			}
		}
	}
	code := r.Runner.ExitCode
	if code != 0 {
		event.Last = lastLinesOf(record.Log)
	}
	switch {
	case record.HadJob():
		l.making.reset()
	case code == 0 && s.Online.IsZero() && time.Since(s.Since) < proven:
		l.backOff(s.Since, time.Now(), s.Name+" ended without a job, before it was seen online", lastLinesOf(record.Log))
	}
	l.outdated(code, r.Runner.Agent)
}

func (l *loop) forgot(r result, event Event) {
	delete(l.witnesses[r.Registration.URL].forgetting, r.Name)
	event.Kind, event.Text = ForgotEvent, r.Cause
	if r.err != nil {
		event.Kind, event.Text = FailedEvent, "its registration stays: "+firstLine(r.err)
		l.settled[r.Name] = time.Now().Add(slowTick) // only a list requested after this gives new information
	} else if r.text != "registration removed" {
		event.Text += "; " + r.text
	}
	l.tell(event)
}

// refused checks for an outdated agent if it ended before it was seen online.
func (l *loop) refused(err error) {
	var dead *EndedError
	if errors.As(err, &dead) {
		l.outdated(dead.Code, l.wish.Spec.Agent)
	}
}

// outdated requests a rebuild of the image if GitHub refuses its agent as too old. An agent
// that registers itself can't distinguish this from other refusals, so GitHub is asked for the
// agent's last day.
func (l *loop) outdated(code int, agent Agent) {
	switch {
	case code == versionRefused:
		l.renewal.demand(time.Now())
	case code == notSetUp && agent.Mode == Token:
		l.renewal.suspect(time.Now())
	}
}

func firstLine(err error) string {
	line := hint.FirstLine(err)
	if cause := hint.Cause(err); cause != "" {
		line += ": " + cause
	}
	return line
}

func lastLinesOf(log []byte) []string {
	lines := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	return lines[max(0, len(lines)-lastLines):]
}

// Silent is an Observer that reports nothing.
type Silent struct{}

// Working implements Observer.
func (Silent) Working(string, string) {}

// Done implements Observer.
func (Silent) Done(string, string, time.Duration) {}

// Failed implements Observer.
func (Silent) Failed(string, error) {}
