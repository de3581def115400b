package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// retryPause is how long to wait before retrying a failed operation on a runner.
const retryPause = 10 * time.Second

// action is one operation of a plan. run acts in parallel to the loop, so it uses no notes that
// the loop changes.
type action interface {
	run(ctx context.Context, x *executor) outcome
}

// outcome is the result of an action. apply runs in the loop: it updates the notes and reports
// the result.
type outcome interface {
	apply(l *loop)
}

// task is an operation and when it was begun.
type task struct {
	fleet.Operation
	begun time.Time
}

// limited bounds an action that makes a runner: GitHub may ask to retry in an hour.
func (task) limited(ctx context.Context, x *executor) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*x.desired.Ready+createGrace)
}

func (t task) event() fleet.Event {
	return fleet.Event{Runner: t.Name, Took: time.Since(t.begun).Seconds()}
}

// actionOf returns the action that carries an operation out.
func actionOf(operation fleet.Operation, now time.Time) action {
	t := task{operation, now}
	switch operation.Action {
	case fleet.Create:
		return create{t}
	case fleet.Give:
		return give{t}
	case fleet.Adopt:
		return adopt{t}
	case fleet.Remove, fleet.Replace:
		return remove{t}
	case fleet.Forget, fleet.Leave:
		return forget{t}
	}
	panic("controller: no action carries out " + operation.String())
}

// create makes a runner, in the way that the operation names.
type create struct{ task }

func (a create) run(ctx context.Context, x *executor) outcome {
	ctx, cancel := a.limited(ctx, x)
	defer cancel()
	runner, text, post, err := x.create(ctx, a.Operation)
	if err != nil {
		return failed{task: a.task, err: err, postMortem: x.completeRecord(ctx, post, err)}
	}
	if runner.Waiting {
		return spareReady{a.task, runner, text}
	}
	return online{a.task, runner, text}
}

// give turns a spare into a runner that takes jobs. The runner stays a spare if GitHub issued
// no credential.
type give struct{ task }

func (a give) run(ctx context.Context, x *executor) outcome {
	ctx, cancel := a.limited(ctx, x)
	defer cancel()
	text, stays, post, err := x.give(ctx, a.Operation)
	if err != nil {
		return failed{task: a.task, err: err, stays: stays, postMortem: x.completeRecord(ctx, post, err)}
	}
	return online{a.task, a.Runner, text}
}

// adopt waits until a runner that another process made is ready.
type adopt struct{ task }

func (a adopt) run(ctx context.Context, x *executor) outcome {
	ctx, cancel := a.limited(ctx, x)
	defer cancel()
	text, waiting, err := x.adopt(ctx, a.Runner)
	switch {
	case err != nil:
		return notAdopted{a.task, err}
	case waiting:
		return spareReady{a.task, a.Runner, text}
	}
	return online{a.task, a.Runner, text}
}

// remove removes a runner, unless it has a job. If the runner only looks alive, GitHub is asked
// once more.
type remove struct{ task }

func (a remove) run(ctx context.Context, x *executor) outcome {
	act := x.dismiss
	if a.Action == fleet.Replace {
		act = x.replace
	}
	text, stays, post, err := act(ctx, a.Operation)
	return removed{task: a.task, text: text, stays: stays, err: err, postMortem: x.completeRecord(ctx, post, err)}
}

// forget removes a registration without a runner, or reports that it stays.
type forget struct{ task }

func (a forget) run(ctx context.Context, x *executor) outcome {
	if a.Action == fleet.Leave {
		text, err := x.reportLeft(a.Registration.URL, a.Name, a.Cause)
		return forgotten{a.task, text, err}
	}
	text, err := x.forget(ctx, a.Registration)
	return forgotten{a.task, text, err}
}

// online reports a runner that can take jobs.
type online struct {
	task
	runner fleet.Runner
	text   string
}

func (o online) apply(l *loop) {
	s, now := l.endOf(o.task)
	l.taken = 0
	if s.ContainerID == "" {
		s.ContainerID = o.runner.ContainerID
	}
	s.State, s.Ready, s.Waiting = fleet.Running, true, false
	s.Online, s.Missed = now, time.Time{}
	if l.desired.Policy.Once && o.Action != fleet.Adopt {
		l.made = append(l.made, o.runner)
	}
	if l.Meter != nil && o.Action != fleet.Adopt {
		l.Meter.Started(now.Sub(o.begun), o.Action == fleet.Give)
	}
	event := o.event()
	event.Kind, event.Text = fleet.OnlineEvent, fmt.Sprintf("%s (%s)", o.text, o.Cause)
	l.emit(event)
	l.Progress.Done(o.Name, o.text, now.Sub(o.begun))
}

// spareReady reports a spare.
type spareReady struct {
	task
	runner fleet.Runner
	text   string
}

func (o spareReady) apply(l *loop) {
	s, _ := l.endOf(o.task)
	o.runner.Listing = nil
	s.Runner, s.Waiting, s.Online, s.Missed = o.runner, true, time.Time{}, time.Time{}
	event := o.event()
	event.Kind, event.Text = fleet.SpareEvent, "waits as a spare, "+o.text
	l.emit(event)
	l.Progress.Done(o.Name, event.Text, time.Since(o.begun))
}

// failed reports a runner that could not be made, and was removed again.
type failed struct {
	task
	err   error
	stays bool // as a spare
	postMortem
}

func (o failed) apply(l *loop) {
	s, now := l.endOf(o.task)
	l.meter(o.record)
	if errors.Is(o.err, context.Canceled) {
		l.dropRunner(o.Name, o.stays)
		return
	}
	event := o.event()
	event.Kind, event.Last = fleet.FailedEvent, hint.Last(o.err)
	event.Text = o.failure(o.err) + o.note()
	if errors.Is(o.err, fleet.ErrNameTaken) {
		if o.stays {
			s.Failed = "its name is registered already"
		}
		if l.taken++; l.taken < drawings {
			l.dropRunner(o.Name, o.stays)
			event.Text += ", another one instead"
			l.emit(event)
			l.Progress.Done(o.Name, "the name is taken at GitHub, another one instead", time.Since(o.begun))
			return
		}
	}
	l.emit(event)
	l.Progress.Failed(o.Name, o.err)
	if l.failFor(s, o.err) { // the runner exists if it could not be removed again
		return
	}
	l.dropRunner(o.Name, o.stays)
	l.backOff(o.begun, now, o.Name+": "+firstLine(o.err), event.Last)
	l.checkRefusal(o.err)
}

// failure words why the operation failed.
func (t task) failure(err error) string {
	return fmt.Sprintf("%s (%s): %s", t.Verb(), t.Cause, firstLine(err))
}

// notAdopted reports a runner of another process that did not become ready.
type notAdopted struct {
	task
	err error
}

func (o notAdopted) apply(l *loop) {
	s, now := l.endOf(o.task)
	if errors.Is(o.err, context.Canceled) {
		l.dropRunner(o.Name, false)
		return
	}
	var late *fleet.NotOnlineError
	var dead *fleet.NotReadyError
	var ended *fleet.EndedError
	again := false
	switch {
	case errors.As(o.err, &dead), errors.As(o.err, &late) && late.Err == nil:
		s.Failed = firstLine(o.err)
	case errors.As(o.err, &ended):
		s.State, s.ExitCode, s.Ended = fleet.Exited, ended.Code, now
	default:
		s.Retry, again = now.Add(retryPause), true
	}
	event := o.event()
	event.Kind, event.Text, event.Last = fleet.FailedEvent, o.failure(o.err), hint.Last(o.err)
	l.emit(event)
	l.Progress.Failed(o.Name, o.err)
	if again {
		l.failFor(s, o.err)
	}
}

// removed reports a runner that was removed, or could not be.
type removed struct {
	task
	text  string
	stays bool // it was left as it was
	err   error
	postMortem
}

func (o removed) apply(l *loop) {
	s, now := l.endOf(o.task)
	l.meter(o.record)
	event := o.event()
	switch {
	case o.err != nil:
		s.Retry = now.Add(retryPause)
		if errors.Is(o.err, context.Canceled) {
			return
		}
		event.Kind, event.Text = fleet.FailedEvent, fmt.Sprintf("can't be removed (%s): %s", o.Cause, firstLine(o.err))
		l.emit(event)
		l.Progress.Failed(o.Name, o.err)
		l.failFor(s, o.err)
		return
	case o.stays:
		s.Retry, s.Missed = now.Add(slowTick), time.Time{}
		if l.desired.Policy.Once {
			s.Retry = now.Add(never)
		}
		l.Progress.Done(o.Name, cmp.Or(o.text, "stays, GitHub shows it as connected"), now.Sub(o.begun))
		return
	}
	delete(l.observed, o.Name)
	event.Kind, event.Text = fleet.RemovedEvent, o.Cause
	if o.Runner.State.Ended() {
		event.Kind = fleet.EndedEvent
		l.describeEnd(o, s, &event)
	}
	if text := o.text + o.note(); text != "" && text != "removed" {
		event.Text += "; " + strings.TrimPrefix(text, "; ")
	}
	l.emit(event)
	text := o.text
	if text == "removed" || text == "" {
		text = "removed: " + o.Cause
	}
	if l.desired.Policy.Down {
		text = "removed"
	}
	l.Progress.Done(o.Name, text, now.Sub(o.begun))
}

// forgotten reports a registration that was removed, or could not be.
type forgotten struct {
	task
	text string
	err  error
}

func (o forgotten) apply(l *loop) {
	l.settled[o.Name] = time.Now()
	if errors.Is(o.err, context.Canceled) {
		return
	}
	event := o.event()
	event.Kind, event.Text = fleet.ForgotEvent, o.Cause
	switch {
	case o.err != nil:
		event.Kind, event.Text = fleet.FailedEvent, "its registration was not removed: "+firstLine(o.err)
		l.settled[o.Name] = time.Now().Add(slowTick) // only a list requested after this gives new information
	case o.text != "registration removed":
		event.Text += "; " + o.text
	}
	if !l.fail(o.err) { // otherwise nothing is tried again
		delete(l.witnesses[o.Registration.URL].forgetting, o.Name)
	}
	l.emit(event)
	if o.err != nil {
		l.Progress.Failed(o.Name, o.err)
		return
	}
	l.Progress.Done(o.Name, o.text, time.Since(o.begun))
}

// never is longer than any single run.
const never = 24 * 365 * time.Hour

// fail notes an error of a single run, after which nothing more is made. It returns false for a
// supervisor, which tries again.
func (l *loop) fail(err error) bool {
	if !l.desired.Policy.Once || err == nil {
		return false
	}
	l.failures = append(l.failures, err)
	l.making.until = time.Now().Add(never)
	return true
}

// failFor is fail for an operation on a runner: in a single run, no other one follows.
func (l *loop) failFor(s *fleet.Observed, err error) bool {
	failed := l.fail(err)
	if failed {
		s.Retry = time.Now().Add(never)
	}
	return failed
}

// endOf notes that an operation on a runner has ended, and returns the notes on the runner.
func (l *loop) endOf(t task) (s *fleet.Observed, now time.Time) {
	now = time.Now()
	l.settled[t.Name] = now
	s = l.observed[t.Name]
	s.Doing = ""
	return s, now
}

// dropRunner forgets a runner, unless it stays. If it exists, the next look finds it.
func (l *loop) dropRunner(name string, stays bool) {
	if !stays {
		delete(l.observed, name)
	}
}

func (l *loop) meter(record *fleet.Record) {
	if record != nil && l.Meter != nil {
		l.Meter.Ended(*record)
	}
}

// describeEnd adds the facts of a runner's record to its end event, and adjusts the back-off.
func (l *loop) describeEnd(o removed, s *fleet.Observed, event *fleet.Event) {
	record := o.record
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
		if record.Cache != nil {
			event.Text += fmt.Sprintf("; cache hits: %d, misses: %d", record.Cache.Hits, record.Cache.Misses)
		}
	}
	code := o.Runner.ExitCode
	if code != 0 {
		event.Last = lastLinesOf(record.Log)
	}
	switch {
	case record.HadJob():
		l.making.reset()
	case code == 0 && s.Online.IsZero() && time.Since(s.Since) < proven:
		l.backOff(s.Since, time.Now(), s.Name+" ended without a job, before it was seen online", lastLinesOf(record.Log))
	}
	l.requestRebuild(code, o.Runner.Agent)
}

// checkRefusal checks for an outdated agent if it ended before it was seen online.
func (l *loop) checkRefusal(err error) {
	var dead *fleet.EndedError
	if errors.As(err, &dead) {
		l.requestRebuild(dead.Code, l.desired.Spec.Agent)
	}
}

// requestRebuild requests a rebuild of the image if GitHub refuses its agent as too old. An agent
// that registers itself can't distinguish this from other refusals, so GitHub is asked for the
// agent's last day.
func (l *loop) requestRebuild(code int, agent fleet.Agent) {
	switch {
	case code == fleet.VersionRefused:
		l.renewal.demand(time.Now())
	case code == fleet.NotSetUp && agent.Mode == fleet.Token:
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
