package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"golang.org/x/time/rate"
)

const (
	// slowTick is how often everything is checked even if no event arrived.
	slowTick = time.Minute
	// firstList is how long a new supervisor waits for the first GitHub lists.
	firstList = 10 * time.Second
	// engineLimit is how long the engine may take for one look at a fleet.
	engineLimit = time.Minute
	// enginePause is the longest pause between two requests to an engine that does not answer.
	enginePause = 10 * time.Second
	// proven is how long a runner must last for its start to count as good. After that time,
	// its end is not blamed on the start.
	proven = time.Minute
	// Budget for GitHub lists while a runner is expected to appear online, in pages: one page
	// per lookEvery, and a burst of looksAtOnce.
	lookEvery, looksAtOnce = 2 * time.Second, 600
	// The queue time is requested only for a sample of jobs.
	sampleEvery, samplesAtOnce = 10 * time.Second, 20
)

// Began starts the text of a supervisor's first event.
const Began = "began: "

// supervise runs the loop until ctx ends. stop ends life, with which the events are written.
func (l *loop) supervise(ctx, life context.Context, stop context.CancelFunc) {
	var background sync.WaitGroup
	defer background.Wait()
	listening, deaf := context.WithCancel(ctx)
	defer deaf()
	wake := make(chan struct{}, 1)
	background.Go(func() { l.listen(listening, wake) })
	background.Go(func() { l.journal.keep(life) })
	defer stop()

	l.emit(fleet.Event{Kind: fleet.SupervisorEvent, Text: Began + l.desired.String()})
	l.firstLists(ctx)
	l.firstSpares(ctx)
	for ctx.Err() == nil {
		_, _ = l.pass(ctx) // a supervisor's pass reports its errors itself
		l.wait(ctx, wake)
		l.catchUp()
	}
	l.windUp()
	l.emit(fleet.Event{Kind: fleet.SupervisorEvent, Text: "ended; its runners stay"})
}

// converge runs the loop until there is nothing to do, or something failed.
func (l *loop) converge(ctx context.Context) error {
	if err := l.observe(ctx); err != nil {
		return err
	}
	for first := true; ctx.Err() == nil; first = false {
		plan, err := l.pass(ctx)
		if first {
			l.showKept(plan)
		}
		if err != nil {
			l.failures = append(l.failures, err)
			break
		}
		if l.underWay == 0 && !slices.ContainsFunc(plan.Operations, l.begins) && !l.settling() {
			break
		}
		l.wait(ctx, nil)
		l.catchUp()
	}
	return l.finish(ctx)
}

// showKept shows the runners that stay as they are.
func (l *loop) showKept(plan fleet.Plan) {
	for _, one := range plan.Kept {
		text := one.Cause
		switch {
		case one.Runner.HasJob():
			text = one.Runner.Daemon() + ", has a job"
		case text == fleet.AsWanted:
			text = one.Runner.Daemon()
		}
		l.Progress.Done(one.Name, text, 0)
	}
}

// settling reports whether runners that do not answer may still do so.
func (l *loop) settling() bool {
	now := time.Now()
	return len(l.failures) == 0 && slices.ContainsFunc(l.all(), func(s fleet.Observed) bool {
		return !s.Silent.IsZero() && s.MayBeSilent() && !now.Before(s.Retry)
	})
}

// finish waits for the operations in progress. If ctx has ended, it removes the runners made.
func (l *loop) finish(ctx context.Context) error {
	l.windUp()
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), l.executor().undoAll(ctx, l.made))
	}
	return errors.Join(l.failures...)
}

// wait blocks until there may be something to do, and processes it.
func (l *loop) wait(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(time.Until(l.next()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	case _, open := <-l.Reload:
		if !open {
			l.Reload = nil
		}
		l.reload(ctx)
	case ended := <-l.outcomes:
		l.handleOutcome(ended)
	case seen := <-l.lists:
		l.handleList(seen)
	case seen := <-l.looks:
		l.handleLooks(seen)
	}
}

// windUp waits for the operations in progress.
func (l *loop) windUp() {
	for l.underWay > 0 {
		select {
		case <-l.lists: // waiting operations get the list from the watch
		case ended := <-l.outcomes:
			l.handleOutcome(ended)
		}
	}
}

func (l *loop) handleOutcome(ended outcome) {
	l.underWay--
	ended.apply(l)
}

// loop is a running Controller. Only its own goroutine touches its notes. Operations run in
// parallel and send it their outcomes.
type loop struct {
	Controller
	desired   fleet.Desired
	observed  map[string]*fleet.Observed
	witnesses map[string]*witness  // by target URL
	settled   map[string]time.Time // when the last operation on a name ended
	making    backOff              // for all operations that make runners
	engine    backOff
	taken     int       // consecutive names that were taken
	passed    time.Time // start of the last pass
	ticked    time.Time
	renewal   renewal
	cache     cacheWatch
	proven    string         // id of an image that has worked on the engine
	underWay  int            // operations in progress
	failures  []error        // policy Once only
	made      []fleet.Runner // policy Once only

	slots    chan struct{}
	sample   *rate.Limiter
	outcomes chan outcome
	lists    chan targetList
	looks    chan []fleet.Runner // into runners
	looking  bool                // a look inside is in progress
	journal  *journal
}

// newLoop returns a loop without any notes yet. life bounds its requests to GitHub.
func newLoop(life context.Context, c Controller, desired fleet.Desired) *loop {
	if c.Progress == nil {
		c.Progress = Silent{}
	}
	l := &loop{
		Controller: c, desired: desired,
		observed: map[string]*fleet.Observed{}, witnesses: map[string]*witness{}, settled: map[string]time.Time{},
		slots: make(chan struct{}, atOnce), outcomes: make(chan outcome), lists: make(chan targetList), looks: make(chan []fleet.Runner, 1),
		sample:  rate.NewLimiter(rate.Every(sampleEvery), samplesAtOnce),
		journal: newJournal(c),
	}
	for url, github := range c.Targets {
		l.witnesses[url] = &witness{url: url, watch: &watch{github: github, life: life, budget: rate.NewLimiter(rate.Every(lookEvery), looksAtOnce), notify: func(seen look) {
			select {
			case l.lists <- targetList{url, seen}:
			case <-life.Done():
			}
		}}, forgetting: map[string]bool{}}
	}
	return l
}

// witness is a GitHub target and its latest list.
type witness struct {
	*watch
	url        string
	asked      time.Time
	asking     bool
	listed     map[string]fleet.Registration
	forgetting map[string]bool
	failing    bool
}

type targetList struct {
	url string
	look
}

func (l *loop) emit(event fleet.Event) {
	event.Fleet = l.Fleet
	l.journal.add(event)
}

// listen wakes the loop for each change, and whenever the engine becomes reachable again.
func (l *loop) listen(ctx context.Context, wake chan<- struct{}) {
	poke := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	var silence backOff
	for ctx.Err() == nil {
		begun := time.Now()
		changes, err := l.Engine.Changes(ctx, l.Fleet)
		if err == nil {
			poke()
			for change := range changes {
				switch change.Kind {
				case fleet.Died, fleet.Destroyed, fleet.Suspended, fleet.Resumed:
					poke()
				}
			}
			poke() // find out at once whether the engine is still there
			if time.Since(begun) > proven {
				silence.reset()
			}
		}
		pause, _ := silence.failed(begun, time.Now())
		sleep(ctx, min(pause, enginePause))
	}
}

func sleep(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

func (l *loop) firstLists(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, firstList)
	defer cancel()
	l.ask(ctx)
	for range l.witnesses {
		select {
		case <-bounded.Done():
			return
		case seen := <-l.lists:
			l.handleList(seen)
		}
	}
}

// firstSpares finds out which spares wait for their credential, so that the first plan can use
// them. If the engine does not answer, the first pass reports it.
func (l *loop) firstSpares(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	_ = l.lookAtFirst(bounded, func(runner fleet.Runner) bool { return runner.Start == fleet.Spare && runner.State == fleet.Running })
}

// ask requests GitHub's lists in the background, unless that was just done.
func (l *loop) ask(ctx context.Context) {
	for _, one := range l.witnesses {
		if !one.asking && time.Since(one.asked) >= slowTick {
			one.asking = true
			go func() { _, _ = one.next(ctx) }() // handleList receives it
		}
	}
}

// catchUp processes everything else that has arrived, so that one look covers it all.
func (l *loop) catchUp() {
	for {
		select {
		case ended := <-l.outcomes:
			l.handleOutcome(ended)
		case seen := <-l.lists:
			l.handleList(seen)
		default:
			return
		}
	}
}

// next returns the time of the next look if nothing happens. A deadline that passed during the
// last pass counts: the pass may have looked before it.
func (l *loop) next() time.Time {
	now := time.Now()
	next := l.ticked.Add(slowTick)
	sooner := func(at time.Time) {
		if at.After(l.passed) && at.Before(next) {
			next = at
		}
	}
	if l.engine.level > 0 {
		return now.Add(min(l.engine.until.Sub(now), enginePause))
	}
	sooner(l.making.until)
	for _, s := range l.observed {
		sooner(s.Retry)
		if s.MayBeSilent() {
			sooner(l.nextInside(s))
		}
		if !s.Ended.IsZero() {
			sooner(s.Ended.Add(fleet.RemovalDelay))
		}
	}
	for _, one := range l.witnesses {
		sooner(one.asked.Add(slowTick))
	}
	return next
}

// pass observes the fleet, decides, and starts the planned operations. It returns an error
// only if the policy is Once: a supervisor tries again.
func (l *loop) pass(ctx context.Context) (fleet.Plan, error) {
	started := time.Now()
	l.passed = started
	bounded, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	runners, err := l.Engine.Known(bounded, l.Fleet)
	if ctx.Err() != nil {
		return fleet.Plan{}, nil
	}
	if err != nil {
		l.noEngine(started, err)
		if l.desired.Policy.Once {
			return fleet.Plan{}, err
		}
		return fleet.Plan{}, nil
	}
	if l.engine.level > 0 {
		l.engine.reset()
		l.making.reset()
		l.emit(fleet.Event{Kind: fleet.SupervisorEvent, Text: "the engine answers again"})
	}
	l.merge(runners)
	l.findProof(bounded)
	l.ask(ctx)
	l.lookInside(ctx)
	if time.Since(l.ticked) >= slowTick {
		l.tick(bounded)
		l.keepCache(ctx)
		l.renew(ctx) // not bounded: it takes longer than a pass
	}
	plan := fleet.Reconcile(l.observation())
	l.measure(started, nil)
	if !slices.ContainsFunc(plan.Operations, l.begins) {
		return plan, nil
	}
	l.emit(fleet.Event{Kind: fleet.PlanEvent, Text: plan.String()})
	for _, operation := range plan.Operations {
		if l.begins(operation) {
			l.begin(ctx, operation)
		}
	}
	return plan, nil
}

// findProof finds out whether the desired image has worked on the engine. Without an answer, the
// next runner proves it.
func (l *loop) findProof(ctx context.Context) {
	spec := l.desired.Spec
	if !spec.OnDemand() || l.proven == spec.ImageID {
		return
	}
	if proven, err := l.Engine.Proven(ctx, spec.ImageID); err == nil && proven {
		l.proven = spec.ImageID
	}
}

// begins reports whether an operation begins now. Spares are made by supervisors only, so that
// nobody waits for them.
func (l *loop) begins(o fleet.Operation) bool {
	return !o.Deferred && (!l.desired.Policy.Once || o.Start != fleet.Spare)
}

// begin starts an operation in parallel to the loop.
func (l *loop) begin(ctx context.Context, operation fleet.Operation) {
	now := time.Now()
	switch operation.Action {
	case fleet.Forget, fleet.Leave:
		l.witnesses[operation.Registration.URL].forgetting[operation.Name] = true
	default:
		s := l.observed[operation.Name]
		if s == nil {
			s = &fleet.Observed{Runner: fleet.Runner{Name: operation.Name, Fleet: l.Fleet, Agent: l.desired.Spec.Agent, Start: operation.Start, Created: now}, Since: now}
			l.observed[operation.Name] = s
		}
		if operation.Action == fleet.Give {
			s.Since = now
		}
		s.Doing = operation.Action
	}
	l.start(ctx, actionOf(operation, now))
}

// start runs an action in parallel to the loop.
func (l *loop) start(ctx context.Context, act action) {
	l.underWay++
	x := l.executor()
	go func() { l.outcomes <- act.run(ctx, x) }()
}

func (l *loop) noEngine(started time.Time, err error) {
	if pause, _ := l.engine.failed(started, time.Now()); l.engine.level == 1 {
		l.emit(fleet.Event{Kind: fleet.FailedEvent, Text: fmt.Sprintf("the engine does not answer, next attempt in %s: %v", pause, err)})
	}
	l.measure(started, err)
}

// tick runs the periodic tasks.
func (l *loop) tick(ctx context.Context) {
	l.ticked = time.Now()
	l.reload(ctx)
	for name, at := range l.settled {
		if time.Since(at) > 2*slowTick {
			delete(l.settled, name)
		}
	}
	// A volume is created before its container, so it may look orphaned while a runner is
	// made.
	if !slices.ContainsFunc(l.all(), func(s fleet.Observed) bool { return s.Doing == fleet.Create }) {
		if err := l.Engine.RemoveOrphans(ctx, l.Fleet); err != nil {
			l.fail(err)
			l.emit(fleet.Event{Kind: fleet.FailedEvent, Text: fmt.Sprintf("volumes without a runner were not removed: %v", err)})
		}
	}
}

func (l *loop) all() []fleet.Observed {
	all := make([]fleet.Observed, 0, len(l.observed))
	for _, s := range l.observed {
		all = append(all, *s)
	}
	return all
}

// merge updates the notes with the engine's list, and judges runners that have ended since.
func (l *loop) merge(runners []fleet.Runner) {
	now := time.Now()
	listed := make(map[string]bool, len(runners))
	for _, runner := range runners {
		listed[runner.Name] = true
		s := l.observed[runner.Name]
		if s == nil {
			s = &fleet.Observed{Runner: runner, Since: runner.Created}
			if s.Since.After(now) { // the engine's clock differs
				s.Since = now
			}
			s.State = ""
			l.witnesses[runner.Agent.URL].update(s)
			l.observed[runner.Name] = s
		}
		ran := s.State == fleet.Running
		if runner.State == fleet.Running {
			runner.Ready, runner.DockerVersion, runner.Waiting, runner.Problem = s.Ready, s.DockerVersion, s.Waiting, s.Problem
		}
		runner.Listing, runner.Busy = s.Listing, s.Busy
		s.Runner = runner
		switch {
		case !s.State.Ended(): // or the engine restarted it
			s.Ended = time.Time{}
		case s.Ended.IsZero():
			s.Ended = now
		}
		if s.Doing == "" && ran && s.State.Ended() && !l.desired.Policy.Once {
			l.checkStart(s, now)
		}
		if !s.Online.IsZero() && s.Missed.IsZero() && now.Sub(s.Online) >= proven && s.Online.After(l.making.last) {
			l.making.reset()
		}
	}
	for name, s := range l.observed {
		if !listed[name] && s.Doing == "" {
			delete(l.observed, name)
			l.emit(fleet.Event{Kind: fleet.EndedEvent, Runner: name, Text: "its container was removed by another process"})
		}
	}
}

// checkStart judges a runner's end: an end soon after the start delays the next start. An end caused
// by a job is not the start's fault, but that is only known later.
func (l *loop) checkStart(s *fleet.Observed, now time.Time) {
	if s.ExitCode == 0 && s.Agent.OneJob() || s.Busy || now.Sub(s.Since) > proven || s.State == "created" {
		return
	}
	l.backOff(s.Since, now, fmt.Sprintf("%s ended soon after its start: %s", s.Name, fleet.Verdict(s.ExitCode, s.OutOfMemory)), nil)
}

// backOff delays the next creation.
func (l *loop) backOff(begun, now time.Time, why string, last []string) {
	if pause, fresh := l.making.failed(begun, now); fresh {
		l.emit(fleet.Event{Kind: fleet.BackOffEvent, Text: fmt.Sprintf("no runner is created for %s: %s", pause, why), Last: last})
	}
}

// handleList processes a GitHub list.
func (l *loop) handleList(seen targetList) {
	one := l.witnesses[seen.url]
	one.asked, one.asking = seen.asked, false
	if seen.err != nil {
		if !one.failing {
			l.emit(fleet.Event{Kind: fleet.FailedEvent, Text: fmt.Sprintf("%s could not be listed, so running runners are kept: %v", seen.url, seen.err)})
		}
		one.failing = true
		return
	}
	if one.failing {
		one.failing = false
		l.emit(fleet.Event{Kind: fleet.SupervisorEvent, Text: seen.url + " lists its runners again"})
	}
	one.listed = seen.list
	for _, s := range l.observed {
		one.update(s)
	}
}

// update updates a runner from the latest list, if the list is recent enough to include the
// runner.
func (w *witness) update(s *fleet.Observed) {
	if w == nil || w.listed == nil || s.Agent.Mode == fleet.NoAgent || !s.Since.Before(w.asked) || s.Agent.URL != w.url {
		return
	}
	registration, listed := w.listed[s.Name]
	s.Listing = &fleet.Listing{State: fleet.NotListed}
	if listed {
		s.Listing = registration.Listing()
	}
	s.Looked, s.Busy = w.asked, s.HasJob()
	switch {
	case s.Doing != "" && s.Doing != fleet.Adopt:
	case listed && (registration.Online || registration.Busy):
		s.Missed, s.Waiting = time.Time{}, false
		if s.Online.IsZero() {
			s.Online = w.asked
		}
	case s.Missed.IsZero() && !s.Waiting:
		s.Missed = w.asked
	}
}

func (l *loop) observation() fleet.Observation {
	observation := fleet.Observation{Now: time.Now(), Desired: l.desired, Runners: l.all(), NotBefore: l.making.until, NewName: l.freeName, Unproven: l.desired.Spec.OnDemand() && l.proven != l.desired.Spec.ImageID}
	for _, one := range l.witnesses {
		for name, registration := range one.listed {
			if l.observed[name] == nil && !one.forgetting[name] && l.settled[name].Before(one.asked) && fleet.IsName(l.Fleet, name) {
				observation.Orphans = append(observation.Orphans, registration)
			}
		}
	}
	slices.SortFunc(observation.Orphans, func(a, b fleet.Registration) int { return int(a.ID - b.ID) })
	return observation
}

// freeName returns a name that no known runner or registration has.
func (l *loop) freeName() string {
	for {
		name := l.NewName()
		known := l.observed[name] != nil
		for _, one := range l.witnesses {
			_, listed := one.listed[name]
			known = known || listed
		}
		if !known {
			return name
		}
	}
}

func (l *loop) measure(started time.Time, err error) {
	if l.Meter == nil {
		return
	}
	l.Meter.Reconciled(time.Since(started), err)
	count := map[fleet.Standing]int{}
	for _, s := range l.observed {
		count[s.Standing()]++
	}
	l.Meter.Runners(count, l.desired.Count)
}

// reload adopts the stored Desired if it has changed.
func (l *loop) reload(ctx context.Context) {
	if l.Store == nil {
		return
	}
	desired, err := l.Store.Desired(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.emit(fleet.Event{Kind: fleet.FailedEvent, Text: fmt.Sprintf("the desired state can't be read, so the old one stays in force: %v", err)})
	case desired != nil && !desired.Equal(l.desired):
		l.desired = *desired
		l.making.reset()
		l.emit(fleet.Event{Kind: fleet.SupervisorEvent, Text: "new desired state: " + desired.String()})
	}
}
