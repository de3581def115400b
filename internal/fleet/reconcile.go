package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Actions that only a supervisor plans.
const (
	MakeSpare Action = "spare"   // make a runner that waits for its credential
	Give      Action = "give"    // give a spare its credential
	Adopt     Action = "adopt"   // check a runner that another process made
	Replace   Action = "replace" // remove a runner that only looks alive, after a last check
	Renew     Action = "renew"   // rebuild the image because its agent is getting old
)

// Sight is one runner as a supervisor sees it: the engine's state, GitHub's state, and the
// supervisor's own notes.
type Sight struct {
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

// View is the complete input of a decision.
type View struct {
	Now       time.Time
	Wish      Wish
	Runners   []Sight
	Orphans   []Registration // registrations without a runner on the engine or an operation
	NotBefore time.Time      // no runner is made before this time
	NewName   func() string
}

const (
	// looksApart is the time between two GitHub lists that must both miss a runner.
	looksApart = time.Minute
	// burialLimit is how long the removal of an ended runner may wait while others are made.
	burialLimit = 10 * time.Second
	// revivals is how often the engine may restart a container before the runner is replaced.
	revivals = 3
)

// Reconcile decides what to do next to reach the desired state: Count runners that can take
// jobs, and Spares that are nearly ready. It assumes that operations in progress will succeed.
// Runners of another spec are removed one by one, each after its successor came online. A
// runner that has a job is never removed.
func Reconcile(v View) Plan {
	var plan Plan
	add := func(operation Operation) { plan.Operations = append(plan.Operations, operation) }
	spec, hash := v.Wish.Spec, v.Wish.Spec.Hash()
	held := v.Now.Before(v.NotBefore)
	remove := func(s Sight, cause string) {
		if !v.Now.Before(s.Retry) {
			add(Operation{Action: Remove, Name: s.Name, Cause: cause, Runner: s.Runner})
		}
	}

	slices.SortFunc(v.Runners, func(a, b Sight) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	var serving, waiting, dead []Sight
	var making, preparing, replacing, underWay int
	for _, s := range v.Runners {
		if s.Doing == Replace {
			replacing++
		}
		if s.Doing != "" {
			underWay++
		}
	}
	for _, s := range v.Runners {
		switch {
		case s.Doing == Remove:
		case s.Doing == Replace: // it may turn out to be healthy
			serving = append(serving, s)
		case s.Doing == MakeSpare, s.Doing == Adopt && s.Spare && !s.connected():
			preparing++
		case s.Doing != "":
			serving = append(serving, s)
			making++
		case s.lost() != "" && ended[s.State]:
			dead = append(dead, s)
		case s.lost() != "":
			remove(s, s.lost())
		case s.State == "removing":
		case s.silent() && !s.hasListedJob() && !held && underWay < max(1, v.Wish.Count/4):
			remove(s, notAnswering+s.Problem)
			underWay++
		case s.Waiting:
			if cause := s.old(spec, hash); cause != "" {
				remove(s, cause)
			} else {
				waiting = append(waiting, s)
			}
		case s.phantom(v) && !held && !v.Now.Before(s.Retry) && replacing < max(1, v.Wish.Count/4):
			add(Operation{Action: Replace, Name: s.Name, Cause: s.missing(), Runner: s.Runner})
			s.Doing = Replace
			serving = append(serving, s)
			replacing++
		case s.Online.IsZero() && !v.Now.Before(s.Retry):
			add(Operation{Action: Adopt, Name: s.Name, Cause: "found on the engine", Runner: s.Runner})
			if s.Doing = Adopt; s.Spare {
				preparing++
			} else {
				serving = append(serving, s)
			}
		default:
			serving = append(serving, s)
		}
	}

	// During a rolling replacement, this many more may be made before old runners are removed.
	limit := v.Wish.Count
	if slices.ContainsFunc(serving, func(s Sight) bool { return s.old(spec, hash) != "" && s.removable(v) }) {
		limit += max(1, v.Wish.Count/10)
	}
	if !held {
		for i := len(serving); i < limit; i++ {
			cause := fmt.Sprintf("%d of %d", i+1, v.Wish.Count)
			if i >= v.Wish.Count {
				cause = "before one of another spec goes"
			}
			making++
			if len(waiting) > 0 {
				add(Operation{Action: Give, Name: waiting[0].Name, Cause: cause, Runner: waiting[0].Runner})
				waiting = waiting[1:]
				continue
			}
			add(Operation{Action: Create, Name: v.NewName(), Cause: cause})
		}
	}
	// Making runners for the next jobs does not wait for the removal of ended ones: doing both
	// at once would take longer.
	for _, s := range dead {
		if making == 0 || v.Now.Sub(s.Ended) >= burialLimit {
			remove(s, s.lost())
		}
	}
	for _, surplus := range tooMany(v, serving, spec, hash) {
		remove(surplus.Sight, surplus.cause)
	}

	spares := v.Wish.Spares
	if spec.Agent.Mode != JIT {
		spares = 0
	}
	for len(waiting) > spares {
		last := len(waiting) - 1
		remove(waiting[last], fmt.Sprintf("surplus, %d spare wanted", spares))
		waiting = waiting[:last]
	}
	// What takes jobs comes first: a spare is made when nothing else is.
	if !held && making == 0 {
		for i := len(waiting) + preparing; i < spares; i++ {
			add(Operation{Action: MakeSpare, Name: v.NewName(), Cause: fmt.Sprintf("spare %d of %d", i+1, spares)})
		}
	}
	plan.Operations = append(plan.Operations, forgets(v.Orphans)...)
	return plan
}

type surplus struct {
	Sight
	cause string
}

// tooMany returns the surplus runners that may be removed: first those that are not connected,
// then those of another spec, then the youngest. No connected runner is removed while no more
// than the desired count are connected.
func tooMany(v View, serving []Sight, spec Spec, hash string) (going []surplus) {
	excess, connected := len(serving)-v.Wish.Count, 0
	var candidates []surplus
	for _, s := range slices.Backward(serving) {
		if s.connected() {
			connected++
		}
		if s.removable(v) {
			candidates = append(candidates, surplus{s, s.old(spec, hash)})
		}
	}
	rank := func(s surplus) int {
		switch {
		case !s.connected():
			return 0
		case s.cause != "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(candidates, func(a, b surplus) int { return cmp.Compare(rank(a), rank(b)) })
	for _, one := range candidates {
		if excess <= 0 {
			break
		}
		if one.connected() {
			if connected <= v.Wish.Count {
				continue
			}
			connected--
		}
		if one.cause == "" {
			one.cause = fmt.Sprintf("surplus, %d wanted", v.Wish.Count)
		}
		going = append(going, one)
		excess--
	}
	return going
}

// lost returns why a runner will never take a job again; "" if it may.
func (s Sight) lost() string {
	switch {
	case s.Failed != "":
		return s.Failed
	case s.State == "created":
		return "it was never started"
	case ended[s.State]:
		return "it ended: " + Verdict(s.ExitCode, s.OutOfMemory)
	case s.State == Paused && !s.hasListedJob():
		return "it is paused"
	case s.State == Restarting && s.Revivals >= revivals:
		return s.endsAgain()
	}
	return ""
}

// old returns how a runner's spec differs from the desired one; "" if it does not.
func (s Sight) old(spec Spec, hash string) string {
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

// connected reports whether a runner can take jobs, as far as is known.
func (s Sight) connected() bool { return !s.Online.IsZero() && s.Missed.IsZero() }

func (s Sight) hasListedJob() bool { return s.Listing != nil && s.Listing.Busy }

func (s Sight) removable(v View) bool {
	return s.Doing == "" && !s.hasListedJob() && !v.Now.Before(s.Retry)
}

// phantom reports whether a runner only looks alive: two GitHub lists did not show it as
// connected, although it once was or had enough time.
func (s Sight) phantom(v View) bool {
	return !s.Missed.IsZero() && s.Looked.Sub(s.Missed) >= looksApart && !s.hasListedJob() &&
		(!s.Online.IsZero() || s.Looked.Sub(s.Since) >= v.Wish.Ready)
}

// silent reports whether jobs could not use a runner's daemon in two looks. One is not enough:
// a job that has just ended may have restarted the daemon.
func (s Sight) silent() bool {
	return !s.Silent.IsZero() && s.Inside.Sub(s.Silent) >= settleLimit
}

func (s Sight) missing() string {
	if s.Listing != nil && s.Listing.State == Offline {
		return "it runs, but GitHub shows it as offline"
	}
	return "it runs, but GitHub does not list it"
}
