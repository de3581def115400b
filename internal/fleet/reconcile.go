package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Observed is one runner as the reconcile loop sees it: the engine's state, GitHub's state, and
// the loop's own notes.
type Observed struct {
	Runner
	Doing  Action    // operation in progress; "": none. The container may not exist yet
	Since  time.Time // time from which its agent could have connected
	Online time.Time // first known to be ready for jobs; zero: never
	Missed time.Time // since when GitHub has not shown it as connected; zero: it does
	Looked time.Time // time of the last GitHub list
	Silent time.Time // since when jobs can't use its daemon; zero: they can
	Inside time.Time // time of the last look inside
	Ended  time.Time // first seen to have ended by itself; zero: it has not
	Failed string    // why it will never be ready; "": no known reason
	Retry  time.Time // no operation on it before this time
}

// Observation is the complete input of a decision.
type Observation struct {
	Now       time.Time
	Desired   Desired
	Runners   []Observed
	Orphans   []Registration // registrations without a runner on the engine or an operation
	NotBefore time.Time      // no runner is made before this time
	Unproven  bool           // inner daemons start on demand, and the desired image has not worked on this engine yet
	NewName   func() string
}

const (
	// looksApart is the time between two GitHub lists that must both miss a runner.
	looksApart = time.Minute
	// RemovalDelay is how long the removal of an ended runner may wait while others are made.
	RemovalDelay = 10 * time.Second
	// SettleLimit is how long jobs may be unable to use a runner's daemon before it counts as
	// not answering: a job may have just restarted it.
	SettleLimit = 10 * time.Second
	// revivals is how often the engine may restart a container before the runner is replaced.
	revivals = 3
	// NotAnswering starts the cause when jobs can't use a runner's daemon.
	NotAnswering = "not answering: "
	// AsWanted is the cause to keep a runner that is as the desired state asks.
	AsWanted = "as wanted"
)

// Reconcile plans the next operations to reach the desired state: Count runners that can take
// jobs, and Spares that are nearly ready. It assumes that operations in progress will succeed.
// Runners of another spec are removed one by one, each after its successor came online, unless
// the policy replaces them at once. A runner that has a job is removed only if the desired
// state is Down.
func Reconcile(v Observation) Plan {
	slices.SortFunc(v.Runners, func(a, b Observed) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	d := decision{Observation: v, hash: v.Desired.Spec.Hash(), held: v.Now.Before(v.NotBefore), adopted: map[string]bool{}}
	if v.Desired.Policy.Down {
		d.removeAll()
		return d.plan
	}
	d.classify()
	d.fill()
	d.removeEnded()
	d.shrink()
	d.fillSpares()
	d.forget()
	return d.plan
}

// decision is one run of Reconcile.
type decision struct {
	Observation
	hash string
	held bool // nothing may be made now
	plan Plan

	serving []Observed      // count as runners of the desired state, now or soon
	waiting []Observed      // spares
	dead    []Observed      // ended by themselves
	adopted map[string]bool // by this plan

	proving bool // a runner that is being made

	// Operations in progress and planned ones: to make a runner, to make a spare, to replace a
	// runner, and all that may make runners unavailable to jobs.
	making, preparing, replacing, underWay int
}

func (d *decision) add(operation Operation) {
	d.plan.Operations = append(d.plan.Operations, operation)
}

func (d *decision) remove(s Observed, cause string) {
	if !d.Now.Before(s.Retry) {
		d.add(Operation{Action: Remove, Name: s.Name, Cause: cause, Runner: s.Runner})
	}
}

// removeAll plans the end of the fleet. It lists the registrations that can't be removed.
func (d *decision) removeAll() {
	for _, s := range d.Runners {
		if s.Doing == "" {
			d.remove(s, "down")
		}
	}
	d.forget()
	for _, one := range d.Orphans {
		if one.Online || one.Busy {
			d.add(Operation{Action: Leave, Name: one.Name, Cause: "GitHub shows it as connected or busy, but no runner here has it", Registration: one})
		}
	}
}

// classify sorts the runners, and plans the operations that follow from one runner alone.
func (d *decision) classify() {
	policy := d.Desired.Policy
	few := max(1, d.Desired.Count/4)
	for _, s := range d.Runners {
		if s.Doing == Replace {
			d.replacing++
		}
		if s.Doing != "" {
			d.underWay++
		}
		d.proving = d.proving || s.Doing == Create && s.Start == Prove
	}
	for _, s := range d.Runners {
		lost, old := s.lost(policy), s.old(d.Desired.Spec, d.hash)
		switch {
		case s.Doing == Remove:
		case s.Doing == Replace: // it may turn out to be healthy
			d.serving = append(d.serving, s)
		case s.Start == Spare && (s.Doing == Create || s.Doing == Adopt && !s.Connected()):
			d.preparing++
		case s.Doing != "":
			d.serving = append(d.serving, s)
			d.making++
		case policy.Once && lost != "" && !s.Online.IsZero() && s.State.Ended():
			d.serving = append(d.serving, s) // it had its job meanwhile; nobody else is made for it
		case lost != "" && s.State.Ended():
			d.dead = append(d.dead, s)
		case lost != "":
			d.remove(s, lost)
		case s.State == "removing":
		case policy.AtOnce && old != "" && !s.HasJob():
			d.remove(s, old)
		case s.settled() && !s.hasListedJob() && !d.held && !d.Now.Before(s.Retry) && (policy.AtOnce || d.underWay < few):
			d.remove(s, NotAnswering+s.Problem)
			d.underWay++
		case s.Waiting && old != "":
			d.remove(s, old)
		case s.Waiting && s.registered() && !d.Now.Before(s.Retry):
			d.add(Operation{Action: Adopt, Name: s.Name, Cause: "its credential was issued and not delivered", Runner: s.Runner})
			d.preparing++
		case s.Waiting:
			d.waiting = append(d.waiting, s)
		case policy.Once && s.Online.IsZero() && s.Start != Spare && s.unlisted():
			d.remove(s, "GitHub does not list it")
		case s.phantom(d.Observation) && !d.held && !d.Now.Before(s.Retry) && d.replacing < few:
			d.add(Operation{Action: Replace, Name: s.Name, Cause: s.missing(), Runner: s.Runner})
			s.Doing = Replace
			d.serving = append(d.serving, s)
			d.replacing++
		case s.Online.IsZero() && !d.Now.Before(s.Retry):
			d.add(Operation{Action: Adopt, Name: s.Name, Cause: "found on the engine", Runner: s.Runner})
			d.adopted[s.Name] = true
			if s.Doing = Adopt; s.Start == Spare {
				d.preparing++
			} else {
				d.serving = append(d.serving, s)
			}
		default:
			d.serving = append(d.serving, s)
		}
	}
}

// fill plans the runners that are missing.
func (d *decision) fill() {
	if d.held {
		return
	}
	// During a rolling replacement, this many more may be made before old runners are removed.
	limit := d.Desired.Count
	if slices.ContainsFunc(d.serving, func(s Observed) bool { return s.old(d.Desired.Spec, d.hash) != "" && s.removable(d.Now) }) {
		limit += max(1, d.Desired.Count/10)
	}
	for i := len(d.serving); i < limit; i++ {
		cause := fmt.Sprintf("%d of %d", i+1, d.Desired.Count)
		if i >= d.Desired.Count {
			cause = "before one of another spec is removed"
		}
		d.making++
		if len(d.waiting) > 0 {
			d.add(Operation{Action: Give, Name: d.waiting[0].Name, Cause: cause, Runner: d.waiting[0].Runner})
			d.waiting = d.waiting[1:]
			continue
		}
		d.add(Operation{Action: Create, Start: d.start(), Name: d.NewName(), Cause: cause})
	}
}

// start returns how the next runner starts. The first one proves that the image works, since
// the daemons of the others start later.
func (d *decision) start() Start {
	if !d.Unproven || d.proving {
		return Usual
	}
	d.proving = true
	return Prove
}

// removeEnded plans the removal of ended runners. Making runners for the next jobs does not wait for
// it: doing both at once would take longer.
func (d *decision) removeEnded() {
	for _, s := range d.dead {
		if d.Now.Before(s.Retry) {
			continue
		}
		wait := !d.Desired.Policy.Once && d.making > 0 && d.Now.Sub(s.Ended) < RemovalDelay
		d.add(Operation{Action: Remove, Name: s.Name, Cause: s.lost(d.Desired.Policy), Runner: s.Runner, Deferred: wait})
	}
}

// shrink plans the removal of surplus runners, and lists the runners that stay.
func (d *decision) shrink() {
	going := map[string]bool{}
	for _, one := range d.surplus() {
		going[one.Name] = true
		d.plan.Operations = slices.DeleteFunc(d.plan.Operations, func(o Operation) bool { return o.Action == Adopt && o.Name == one.Name })
		d.remove(one.Observed, one.cause)
	}
	stay := 0
	for _, s := range d.serving {
		if going[s.Name] {
			continue
		}
		if s.Doing != "" {
			stay++
			continue
		}
		cause := AsWanted
		if old := s.old(d.Desired.Spec, d.hash); old != "" {
			cause = old
			if s.hasListedJob() {
				cause += ", but it has a job"
			}
		} else if stay >= d.Desired.Count && s.hasListedJob() {
			cause = fmt.Sprintf("surplus, %d wanted, but it has a job", d.Desired.Count)
		}
		stay++
		d.plan.Kept = append(d.plan.Kept, Operation{Action: Keep, Name: s.Name, Cause: cause, Runner: s.Runner})
	}
}

type surplus struct {
	Observed
	cause string
}

// surplus returns the surplus runners that may be removed: first those that are not connected,
// then those of another spec, then idle ones, each time the youngest first. No connected
// runner is removed while no more than the desired count are connected.
func (d *decision) surplus() (going []surplus) {
	excess, connected := len(d.serving)-d.Desired.Count, 0
	var candidates []surplus
	for _, s := range slices.Backward(d.serving) {
		if s.usable() {
			connected++
		}
		// The lists of a single run are fresh, so a runner that is not known yet is judged by them.
		if s.removable(d.Now) || d.Desired.Policy.Once && d.adopted[s.Name] && !s.hasListedJob() {
			candidates = append(candidates, surplus{s, s.old(d.Desired.Spec, d.hash)})
		}
	}
	rank := func(s surplus) int {
		switch {
		case !s.usable():
			return 0
		case s.cause != "":
			return 1
		case !s.Busy:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(candidates, func(a, b surplus) int { return cmp.Compare(rank(a), rank(b)) })
	for _, one := range candidates {
		if excess <= 0 {
			break
		}
		if one.usable() {
			if connected <= d.Desired.Count {
				continue
			}
			connected--
		}
		if one.cause == "" {
			one.cause = fmt.Sprintf("surplus, %d wanted", d.Desired.Count)
		}
		going = append(going, one)
		excess--
	}
	return going
}

// fillSpares plans missing spares and the removal of surplus ones. Runners that take jobs come
// first: a spare is made when nothing else is.
func (d *decision) fillSpares() {
	spares := d.Desired.Spares
	if d.Desired.Spec.Agent.Mode != JIT {
		spares = 0
	}
	for len(d.waiting) > spares {
		last := len(d.waiting) - 1
		d.remove(d.waiting[last], fmt.Sprintf("surplus, %d spare wanted", spares))
		d.waiting = d.waiting[:last]
	}
	if d.held || d.making > 0 {
		return
	}
	for i := len(d.waiting) + d.preparing; i < spares; i++ {
		d.add(Operation{Action: Create, Start: Spare, Name: d.NewName(), Cause: fmt.Sprintf("spare %d of %d", i+1, spares)})
	}
}

// forget plans the removal of registrations that no runner has: their runnerctl was killed. An
// online or busy registration has a runner somewhere, so it stays.
func (d *decision) forget() {
	for _, one := range d.Orphans {
		if !one.Online && !one.Busy {
			d.add(Operation{Action: Forget, Name: one.Name, Cause: "offline at GitHub, and no runner here has it", Registration: one})
		}
	}
}

// lost returns why a runner will never take a job again; "" if it may.
func (s Observed) lost(policy Policy) string {
	switch {
	case s.Failed != "":
		return s.Failed
	case s.State == "created":
		return "it was never started"
	case s.State.Ended():
		return "it ended: " + Verdict(s.ExitCode, s.OutOfMemory)
	case s.State == Paused && (policy.Once || !s.hasListedJob()):
		return "it is paused"
	case s.State == Restarting && s.Revivals >= revivals:
		return s.endsAgain()
	case policy.Once && s.Doing == "" && s.Online.IsZero() && !s.HasJob() && (s.State == Restarting || s.State == Running && !s.Ready && s.Revivals > 0):
		return s.endsAgain() // as it was found: nobody waits for the engine's next attempt
	}
	return ""
}

// old returns how a runner's spec differs from the desired one; "" if it does not.
func (s Observed) old(spec Spec, hash string) string {
	switch {
	case s.Doing != "" || s.ImageID == "":
		return ""
	case s.ImageID != spec.ImageID:
		return "its image is not " + spec.Image
	case s.SpecHash != hash:
		return "its spec changed"
	}
	return ""
}

// usable reports whether a runner can take jobs and its daemon answered when it was last asked.
func (s Observed) usable() bool { return s.Connected() && s.Silent.IsZero() }

// Connected reports whether a runner can take jobs, as far as is known.
func (s Observed) Connected() bool { return !s.Online.IsZero() && s.Missed.IsZero() }

func (s Observed) hasListedJob() bool { return s.Listing != nil && s.Listing.Busy }

func (s Observed) registered() bool { return s.Listing != nil && s.Listing.State != NotListed }

func (s Observed) removable(now time.Time) bool {
	return s.Doing == "" && !s.hasListedJob() && !now.Before(s.Retry)
}

// phantom reports whether a runner only looks alive: two GitHub lists did not show it as
// connected, although it once was or had enough time.
func (s Observed) phantom(v Observation) bool {
	return !s.Missed.IsZero() && s.Looked.Sub(s.Missed) >= looksApart && !s.hasListedJob() &&
		(!s.Online.IsZero() || s.Looked.Sub(s.Since) >= v.Desired.Ready)
}

// settled reports whether jobs could not use a runner's daemon for SettleLimit. A single look
// is not enough: a job that has just ended may have restarted the daemon.
func (s Observed) settled() bool {
	return !s.Silent.IsZero() && s.Inside.Sub(s.Silent) >= SettleLimit
}

// MayBeSilent reports whether a runner should be looked into: it waits for a job.
func (s Observed) MayBeSilent() bool {
	return s.State == Running && s.Doing == "" && (s.Waiting || !s.Online.IsZero()) && !s.hasListedJob()
}

func (s Observed) missing() string {
	if s.Listing != nil && s.Listing.State == Offline {
		return "it is running, but GitHub shows it as offline"
	}
	return "it is running, but GitHub does not list it"
}

// Standing returns the runner's status for metrics.
func (s Observed) Standing() Standing {
	switch {
	case s.Doing == Remove || s.lost(Policy{}) != "":
		return StandingGoing
	case s.Waiting && s.Doing == "":
		return StandingSpare
	case s.hasListedJob():
		return StandingBusy
	case s.Connected():
		return StandingIdle
	case s.Online.IsZero():
		return StandingStarting
	}
	return StandingOffline
}

// endsAgain returns the cause for removing a runner that the engine keeps restarting in vain.
func (r Runner) endsAgain() string {
	why := "it keeps exiting"
	if r.Agent.Mode != NoAgent && r.ExitCode != 0 {
		why += ": " + Verdict(r.ExitCode, r.OutOfMemory)
	}
	return why
}

// HasJob reports whether GitHub assigned the runner a job and its container is running.
func (r Runner) HasJob() bool {
	return r.Listing != nil && r.Listing.Busy && r.State == Running
}

// unlisted reports whether the runner will never get a job. With a registration token, the
// agent registers itself some time after the start.
func (r Runner) unlisted() bool {
	return r.Listing != nil && r.Listing.State == NotListed && (r.Agent.Mode == JIT || r.Ready)
}
