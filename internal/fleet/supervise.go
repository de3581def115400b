package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

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

// NoWishError reports that there is no desired state to supervise.
type NoWishError struct{ Fleet string }

func (e *NoWishError) Error() string {
	return fmt.Sprintf("fleet %s has no wish to supervise", e.Fleet)
}

// Hint suggests what to do.
func (e *NoWishError) Hint() string { return "runnerctl up says what is wished" }

// Supervise keeps a fleet in its desired state until ctx ends, which is not an error: it then
// winds up the operations in progress and leaves the runners. It acts on engine events, when
// an operation ends, when the Wish may have changed, and once a minute.
func Supervise(ctx context.Context, supervision Supervision) error {
	wish, err := supervision.Store.Wish(ctx)
	if err != nil {
		return err
	}
	if wish == nil {
		return &NoWishError{Fleet: supervision.Fleet}
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	l := newLoop(life, supervision, *wish)
	var background sync.WaitGroup
	defer background.Wait()
	listening, deaf := context.WithCancel(ctx)
	defer deaf()
	wake := make(chan struct{}, 1)
	background.Go(func() { l.listen(listening, wake) })
	background.Go(func() { l.journal.keep(life) })
	defer stop()

	l.tell(Event{Kind: SupervisorEvent, Text: Began + wish.String()})
	l.firstLists(ctx)
	for ctx.Err() == nil {
		l.pass(ctx)
		timer := time.NewTimer(time.Until(l.next()))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		case _, open := <-l.Reload:
			if !open {
				l.Reload = nil
			}
			l.reload(ctx)
		case ended := <-l.results:
			l.took(ended)
		case seen := <-l.looks:
			l.saw(seen)
		case seen := <-l.insides:
			l.sawInside(seen)
		}
		timer.Stop()
		l.catchUp()
	}
	go func() {
		l.steps.Wait()
		close(l.results)
	}()
	for more := true; more; {
		var ended result
		select {
		case <-l.looks: // waiting operations get the list from the watch
		case ended, more = <-l.results:
			if more {
				l.took(ended)
			}
		}
	}
	l.tell(Event{Kind: SupervisorEvent, Text: "ended; the runners stay"})
	return nil
}

func (w Wish) String() string {
	text := fmt.Sprintf("%d wanted", w.Count)
	if w.Spares > 0 {
		text += fmt.Sprintf(" and %d spare", w.Spares)
	}
	return text + ", of " + w.Spec.Image
}

// loop is a running supervisor. Only its own goroutine touches its notes. Operations run in
// parallel and send it their results.
type loop struct {
	Supervision
	wish      Wish
	sights    map[string]*Sight
	witnesses map[string]*witness  // by target URL
	settled   map[string]time.Time // when the last operation on a name ended
	making    backOff              // for all operations that make runners
	engine    backOff
	taken     int // consecutive names that were taken
	ticked    time.Time
	renewal   renewal

	slots   chan struct{}
	sample  *rate.Limiter
	steps   sync.WaitGroup
	results chan result
	looks   chan lookAt
	insides chan []Runner
	looking bool // a look inside is in progress
	journal *journal
}

// newLoop returns a loop without any notes yet. life bounds its requests to GitHub.
func newLoop(life context.Context, supervision Supervision, wish Wish) *loop {
	l := &loop{
		Supervision: supervision, wish: wish,
		sights: map[string]*Sight{}, witnesses: map[string]*witness{}, settled: map[string]time.Time{},
		slots: make(chan struct{}, atOnce), results: make(chan result), looks: make(chan lookAt), insides: make(chan []Runner, 1),
		sample:  rate.NewLimiter(rate.Every(sampleEvery), samplesAtOnce),
		journal: newJournal(supervision),
	}
	for url, forge := range supervision.Forges {
		l.witnesses[url] = &witness{url: url, watch: &watch{forge: forge, life: life, budget: rate.NewLimiter(rate.Every(lookEvery), looksAtOnce), told: func(seen look) {
			select {
			case l.looks <- lookAt{url, seen}:
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
	listed     map[string]Registration
	forgetting map[string]bool
	failing    bool
}

type lookAt struct {
	url string
	look
}

func (l *loop) tell(event Event) {
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
				case Died, Destroyed, Stilled, Resumed:
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
		case seen := <-l.looks:
			l.saw(seen)
		}
	}
}

// ask requests GitHub's lists in the background, unless that was just done.
func (l *loop) ask(ctx context.Context) {
	for _, one := range l.witnesses {
		if !one.asking && time.Since(one.asked) >= slowTick {
			one.asking = true
			go func() { _, _ = one.next(ctx) }() // saw receives the list
		}
	}
}

// catchUp processes everything else that has arrived, so that one look covers it all.
func (l *loop) catchUp() {
	for {
		select {
		case ended := <-l.results:
			l.took(ended)
		case seen := <-l.looks:
			l.saw(seen)
		default:
			return
		}
	}
}

// next returns the time of the next look if nothing happens.
func (l *loop) next() time.Time {
	now := time.Now()
	next := l.ticked.Add(slowTick)
	sooner := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	if l.engine.level > 0 {
		return now.Add(min(l.engine.until.Sub(now), enginePause))
	}
	sooner(l.making.until)
	for _, s := range l.sights {
		sooner(s.Retry)
		if s.mayBeSilent() {
			sooner(s.nextInside())
		}
		if !s.Ended.IsZero() {
			sooner(s.Ended.Add(burialLimit))
		}
	}
	for _, one := range l.witnesses {
		sooner(one.asked.Add(slowTick))
	}
	return next
}

// pass observes the fleet, decides, and starts the planned operations.
func (l *loop) pass(ctx context.Context) {
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	runners, err := l.Engine.Known(bounded, l.Fleet)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if pause, _ := l.engine.failed(started, time.Now()); l.engine.level == 1 {
			l.tell(Event{Kind: FailedEvent, Text: fmt.Sprintf("the engine does not answer, asked again in %s and so on: %v", pause, err)})
		}
		l.measure(started, err)
		return
	}
	if l.engine.level > 0 {
		l.engine.reset()
		l.making.reset()
		l.tell(Event{Kind: SupervisorEvent, Text: "the engine answers again"})
	}
	l.merge(runners)
	l.ask(ctx)
	l.lookInside(ctx)
	if time.Since(l.ticked) >= slowTick {
		l.tick(bounded)
		l.renew(ctx) // not bounded: it takes longer than a pass
	}
	plan := Reconcile(l.view())
	l.measure(started, nil)
	for _, operation := range plan.Operations {
		l.begin(ctx, operation)
	}
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
	if !slices.ContainsFunc(l.all(), func(s Sight) bool { return s.Doing == Create || s.Doing == MakeSpare }) {
		if err := l.Engine.RemoveOrphans(ctx, l.Fleet); err != nil {
			l.tell(Event{Kind: FailedEvent, Text: fmt.Sprintf("volumes without a runner stay: %v", err)})
		}
	}
}

func (l *loop) all() []Sight {
	all := make([]Sight, 0, len(l.sights))
	for _, s := range l.sights {
		all = append(all, *s)
	}
	return all
}

// merge updates the notes with the engine's list, and judges runners that have ended since.
func (l *loop) merge(runners []Runner) {
	now := time.Now()
	listed := make(map[string]bool, len(runners))
	for _, runner := range runners {
		listed[runner.Name] = true
		s := l.sights[runner.Name]
		if s == nil {
			s = &Sight{Runner: runner, Since: runner.Created}
			if s.Since.After(now) { // the engine's clock differs
				s.Since = now
			}
			s.State = ""
			l.witnesses[runner.Agent.URL].shows(s)
			l.sights[runner.Name] = s
		}
		ran := s.State == Running
		if runner.State == Running {
			runner.Ready, runner.DockerVersion, runner.Waiting, runner.Problem = s.Ready, s.DockerVersion, s.Waiting, s.Problem
		}
		runner.Listing, runner.Busy = s.Listing, s.Busy
		s.Runner = runner
		switch {
		case !ended[s.State]: // or the engine restarted it
			s.Ended = time.Time{}
		case s.Ended.IsZero():
			s.Ended = now
		}
		if s.Doing == "" && ran && ended[s.State] {
			l.died(s, now)
		}
		if !s.Online.IsZero() && s.Missed.IsZero() && now.Sub(s.Online) >= proven && s.Online.After(l.making.last) {
			l.making.reset()
		}
	}
	for name, s := range l.sights {
		if !listed[name] && s.Doing == "" {
			delete(l.sights, name)
			l.tell(Event{Kind: EndedEvent, Runner: name, Text: "its container was removed by somebody else"})
		}
	}
}

// died judges a runner's end: an end soon after the start delays the next start. An end caused
// by a job is not the start's fault, but that is only known later.
func (l *loop) died(s *Sight, now time.Time) {
	if s.ExitCode == 0 && s.Agent.OneJob() || s.Busy || now.Sub(s.Since) > proven || s.State == "created" {
		return
	}
	l.backOff(s.Since, now, fmt.Sprintf("%s ended soon after its start: %s", s.Name, Verdict(s.ExitCode, s.OutOfMemory)), nil)
}

// backOff delays the next creation.
func (l *loop) backOff(begun, now time.Time, why string, last []string) {
	if pause, fresh := l.making.failed(begun, now); fresh {
		l.tell(Event{Kind: BackOffEvent, Text: fmt.Sprintf("nothing is made for %s: %s", pause, why), Last: last})
	}
}

// saw processes a GitHub list.
func (l *loop) saw(seen lookAt) {
	one := l.witnesses[seen.url]
	one.asked, one.asking = seen.asked, false
	if seen.err != nil {
		if !one.failing {
			l.tell(Event{Kind: FailedEvent, Text: fmt.Sprintf("no list of %s, what runs is kept: %v", seen.url, seen.err)})
		}
		one.failing = true
		return
	}
	if one.failing {
		one.failing = false
		l.tell(Event{Kind: SupervisorEvent, Text: seen.url + " lists its runners again"})
	}
	one.listed = seen.list
	for _, s := range l.sights {
		one.shows(s)
	}
}

// shows updates a Sight from the latest list, if the list is recent enough to include the
// runner.
func (w *witness) shows(s *Sight) {
	if w == nil || w.listed == nil || s.Agent.Mode == NoAgent || !s.Since.Before(w.asked) || s.Agent.URL != w.url {
		return
	}
	registration, listed := w.listed[s.Name]
	s.Listing = &Listing{State: NotListed}
	if listed {
		s.Listing = registration.listing()
	}
	s.Looked, s.Busy = w.asked, s.hasJob()
	switch {
	case s.Doing != "" && s.Doing != Adopt:
	case listed && (registration.Online || registration.Busy):
		s.Missed, s.Waiting = time.Time{}, false
		if s.Online.IsZero() {
			s.Online = w.asked
		}
	case s.Missed.IsZero() && !s.Waiting:
		s.Missed = w.asked
	}
}

func (l *loop) view() View {
	view := View{Now: time.Now(), Wish: l.wish, Runners: l.all(), NotBefore: l.making.until, NewName: l.freeName}
	for _, one := range l.witnesses {
		for name, registration := range one.listed {
			if l.sights[name] == nil && !one.forgetting[name] && l.settled[name].Before(one.asked) && IsName(l.Fleet, name) {
				view.Orphans = append(view.Orphans, registration)
			}
		}
	}
	slices.SortFunc(view.Orphans, func(a, b Registration) int { return int(a.ID - b.ID) })
	return view
}

// freeName returns a name that no known runner or registration has.
func (l *loop) freeName() string {
	for {
		name := l.NewName()
		known := l.sights[name] != nil
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
	count := map[Standing]int{}
	for _, s := range l.sights {
		count[s.standing()]++
	}
	l.Meter.Runners(count, l.wish.Count)
}

func (s Sight) standing() Standing {
	switch {
	case s.Doing == Remove || s.lost() != "":
		return StandingGoing
	case s.Waiting && s.Doing == "":
		return StandingSpare
	case s.hasListedJob():
		return StandingBusy
	case s.connected():
		return StandingIdle
	case s.Online.IsZero():
		return StandingStarting
	}
	return StandingOffline
}

// reload adopts the stored Wish if it has changed.
func (l *loop) reload(ctx context.Context) {
	wish, err := l.Store.Wish(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.tell(Event{Kind: FailedEvent, Text: fmt.Sprintf("the wish can't be read, the old one holds: %v", err)})
	case wish != nil && !wish.equal(l.wish):
		l.wish = *wish
		l.making.reset()
		l.tell(Event{Kind: SupervisorEvent, Text: "has a new wish: " + wish.String()})
	}
}

func (w Wish) equal(other Wish) bool {
	one, err := json.Marshal(w)
	two, otherErr := json.Marshal(other)
	return errors.Join(err, otherErr) == nil && bytes.Equal(one, two)
}
