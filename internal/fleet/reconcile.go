package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The actions that only a supervisor's plan has.
const (
	MakeSpare Action = "spare"   // a runner that waits for its credential
	Give      Action = "give"    // a spare its credential
	Adopt     Action = "adopt"   // look whether a runner that somebody else made is good
	Replace   Action = "replace" // remove a runner that looks alive, unless it is after all
	Renew     Action = "renew"   // the image, where its agent ages
)

// Sight is one runner as a supervisor sees it: the engine's word, its forge's, and
// what is remembered.
type Sight struct {
	Runner
	Doing  Action    // what is under way; "": nothing. There may be no container yet
	Since  time.Time // its agent could have connected from then on
	Online time.Time // it was first known to be ready for jobs; zero: never
	Missed time.Time // the first look since which its forge does not show it connected; zero: it does
	Looked time.Time // the last look at the forge's list
	Silent time.Time // the first look inside since which jobs can't use its daemon; zero: they can
	Inside time.Time // the last look inside
	Ended  time.Time // it was first seen to have ended by itself; zero: it was not
	Failed string    // why it will never be ready; "": nothing says so
	Retry  time.Time // nothing is tried with it before
}

// View is all that a decision is made on.
type View struct {
	Now       time.Time
	Wish      Wish
	Runners   []Sight
	Orphans   []Registration // that no runner on the engine and no operation has
	NotBefore time.Time      // nothing is made until then
	NewName   func() string
}

const (
	// looksApart is the time between two looks at a forge's list, both of which must
	// miss a runner.
	looksApart = time.Minute
	// burialLimit is how long what ended waits for its removal while others are made.
	burialLimit = 10 * time.Second
	// revivals of a container are the engine's to try; past these it is made anew.
	revivals = 3
)

// Reconcile decides what to do next so that the wish comes true: Count runners that
// can take jobs, and Spares that are nearly there. What is under way is counted as if
// it will succeed. Runners of another spec go one by one, each after its successor
// came online; none goes that has a job.
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
		case s.Doing == Replace: // it may be well after all
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

	// Of a roll: as many more as may be made before some of the others go.
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
	// Who takes the next job does not wait for the burial of who had the last: both
	// together would take longer.
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

// tooMany are the runners beyond the wished count that may go: first what is not
// connected, then what has another spec, then the youngest. While fewer than wished
// are connected, no connected one goes.
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

// lost tells why a runner will never take a job again; "" where it may.
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

// old tells whether a runner was made of another spec than the wished one.
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

// connected tells whether a runner can take jobs, as far as is known.
func (s Sight) connected() bool { return !s.Online.IsZero() && s.Missed.IsZero() }

func (s Sight) hasListedJob() bool { return s.Listing != nil && s.Listing.Busy }

func (s Sight) removable(v View) bool {
	return s.Doing == "" && !s.hasListedJob() && !v.Now.Before(s.Retry)
}

// phantom tells whether a runner looks alive and is not: its forge did not show it
// connected in two looks, though it was once, or had time enough.
func (s Sight) phantom(v View) bool {
	return !s.Missed.IsZero() && s.Looked.Sub(s.Missed) >= looksApart && !s.hasListedJob() &&
		(!s.Online.IsZero() || s.Looked.Sub(s.Since) >= v.Wish.Ready)
}

// silent tells whether a runner's daemon could not be used by jobs in two looks: a job
// that has just ended may have restarted it.
func (s Sight) silent() bool {
	return !s.Silent.IsZero() && s.Inside.Sub(s.Silent) >= settleLimit
}

func (s Sight) missing() string {
	if s.Listing != nil && s.Listing.State == Offline {
		return "it runs, but GitHub shows it as offline"
	}
	return "it runs, but GitHub does not list it"
}
