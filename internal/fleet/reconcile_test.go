package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The first runner of an image on an engine proves it; the others start their daemons on demand.
func TestReconcileProves(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	spec := Spec{Agent: Agent{Mode: JIT, Ephemeral: true}}
	proving := Observed{Runner: Runner{Name: "a", Start: Prove, Created: now}, Doing: Create}
	for _, test := range []struct {
		name     string
		runners  []Observed
		unproven bool
		want     string
	}{
		{"proven", nil, false, "create  new-1  (1 of 2)\ncreate  new-2  (2 of 2)\n"},
		{"unproven", nil, true, "prove   new-1  (1 of 2)\ncreate  new-2  (2 of 2)\n"},
		{"being proven", []Observed{proving}, true, "create  new-1  (2 of 2)\n"},
	} {
		count := 0
		plan := Reconcile(Observation{
			Now: now, Desired: Desired{Count: 2, Spec: spec}, Runners: test.runners, Unproven: test.unproven,
			NewName: func() string { count++; return fmt.Sprintf("new-%d", count) },
		})
		var text strings.Builder
		plan.Kept = nil
		plan.Write(&text)
		if text.String() != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.name, text.String(), test.want)
		}
	}
}

func TestOnDemand(t *testing.T) {
	for _, test := range []struct {
		spec Spec
		want bool
	}{
		{Spec{Agent: Agent{Mode: JIT}}, true},
		{Spec{Agent: Agent{Mode: Token, Ephemeral: true}}, true},
		{Spec{Agent: Agent{Mode: Token}}, false},
		{Spec{}, false},
		{Spec{DockerStart: OnDemand}, true},
		{Spec{Agent: Agent{Mode: JIT}, DockerStart: Eager}, false},
	} {
		if got := test.spec.OnDemand(); got != test.want {
			t.Errorf("%+v: %t, want %t", test.spec, got, test.want)
		}
	}
}

func TestReconcile(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	spec := Spec{Fleet: "ci", Image: "runner:1", ImageID: "sha256:1", Agent: Agent{Mode: JIT, URL: "https://github.com/acme", Ephemeral: true}}
	minute := 0
	good := func(name string, changes ...func(*Observed)) Observed {
		minute++
		s := Observed{
			Runner: Runner{Name: name, State: Running, ImageID: spec.ImageID, SpecHash: spec.Hash(), Agent: spec.Agent, Created: now.Add(time.Duration(minute-100) * time.Minute), Listing: &Listing{State: Online}},
			Since:  now.Add(-time.Hour), Online: now.Add(-time.Hour), Looked: now,
		}
		for _, change := range changes {
			change(&s)
		}
		return s
	}
	busy := func(s *Observed) { s.Listing.Busy = true }
	old := func(s *Observed) { s.ImageID = "sha256:0" }
	changed := func(s *Observed) { s.SpecHash = "other" }
	exited := func(s *Observed) { s.State, s.ExitCode, s.Ended = Exited, 137, now }
	long := func(s *Observed) { s.Ended = now.Add(-RemovalDelay) }
	spare := func(s *Observed) { s.Start, s.Waiting, s.Listing, s.Online = Spare, true, nil, time.Time{} }
	unseen := func(s *Observed) { s.Online = time.Time{} }
	later := func(s *Observed) { s.Retry = now.Add(time.Second) }
	missed := func(ago time.Duration) func(*Observed) {
		return func(s *Observed) { s.Listing, s.Missed = &Listing{State: Offline}, now.Add(-ago) }
	}
	doing := func(action Action) func(*Observed) { return func(s *Observed) { s.Doing = action } }

	tests := []struct {
		name    string
		count   int
		spares  int
		runners []Observed
		held    bool
		want    string
	}{
		{"from nothing", 2, 1, nil, false, "create  new-1  (1 of 2)\ncreate  new-2  (2 of 2)\n"},
		{"a spare when all others are made", 1, 1, []Observed{good("a")}, false, "spare   new-1  (spare 1 of 1)\n"},
		{"no spare while others are made", 2, 1, []Observed{good("a"), good("b", doing(Create))}, false, ""},
		{"as desired", 1, 1, []Observed{good("a"), good("s", spare)}, false, ""},
		{"one ended: its successor comes first", 2, 1, []Observed{good("a"), good("b", exited), good("s", spare)}, false, "give    s  (2 of 2)\nremove  b  (it ended: killed by its job or from outside, or not stopped in time) deferred\n"},
		{"one ended, its successor is being made", 2, 0, []Observed{good("a"), good("b", exited), good("c", doing(Create))}, false,
			"remove  b  (it ended: killed by its job or from outside, or not stopped in time) deferred\n"},
		{"one ended, its successor takes long", 2, 0, []Observed{good("a"), good("b", exited, long), good("c", doing(Create))}, false,
			"remove  b  (it ended: killed by its job or from outside, or not stopped in time)\n"},
		{"one ended, its successor is there", 2, 1, []Observed{good("a"), good("b", exited), good("c")}, false,
			"remove  b  (it ended: killed by its job or from outside, or not stopped in time)\nspare   new-1  (spare 1 of 1)\n"},
		{"one ended, back-off", 2, 1, []Observed{good("a"), good("b", exited), good("s", spare)}, true,
			"remove  b  (it ended: killed by its job or from outside, or not stopped in time)\n"},
		{"one is being removed", 1, 0, []Observed{good("a", doing(Remove))}, false, "create  new-1  (1 of 1)\n"},
		{"a removal failed a moment ago", 1, 0, []Observed{good("a", exited, later), good("b")}, false, ""},
		{"more ended than there are spares", 2, 1, []Observed{good("s", spare)}, false, "give    s  (1 of 2)\ncreate  new-1  (2 of 2)\n"},
		{"missed once", 1, 0, []Observed{good("a", missed(time.Second))}, false, ""},
		{"missed twice", 1, 0, []Observed{good("a", missed(time.Minute))}, false, "replace a  (it is running, but GitHub shows it as offline)\n"},
		{"missed twice, has a job", 1, 0, []Observed{good("a", missed(time.Minute), busy)}, false, ""},
		{"missed twice, back-off", 1, 0, []Observed{good("a", missed(time.Minute))}, true, ""},
		{"all missed, a few at a time", 8, 0, []Observed{good("a", missed(time.Hour)), good("b", missed(time.Hour)), good("c", missed(time.Hour)), good("d", missed(time.Hour)), good("e", missed(time.Hour)), good("f", missed(time.Hour)), good("g", missed(time.Hour), doing(Replace)), good("h", missed(time.Hour))}, false,
			"replace a  (it is running, but GitHub shows it as offline)\n"},
		{"found", 1, 0, []Observed{good("a", unseen)}, false, "adopt   a  (found on the engine)\n"},
		{"found a spare", 1, 1, []Observed{good("a"), good("s", spare, func(s *Observed) { s.Waiting = false })}, false, "adopt   s  (found on the engine)\n"},
		{"found one too many", 1, 0, []Observed{good("a", unseen), good("b"), good("c")}, false, "adopt   a  (found on the engine)\nremove  c  (surplus, 1 wanted)\n"},
		{"never ready", 1, 0, []Observed{good("a", func(s *Observed) { s.Failed = "its daemon is dead" })}, false, "remove  a  (its daemon is dead)\ncreate  new-1  (1 of 1)\n"},
		{"paused", 1, 0, []Observed{good("a", func(s *Observed) { s.State = Paused })}, false, "remove  a  (it is paused)\ncreate  new-1  (1 of 1)\n"},
		{"paused with a job", 1, 0, []Observed{good("a", busy, func(s *Observed) { s.State = Paused })}, false, ""},
		{"again and again", 1, 0, []Observed{good("a", func(s *Observed) { s.State, s.Revivals = Restarting, revivals })}, false, "remove  a  (it keeps exiting)\ncreate  new-1  (1 of 1)\n"},
		{"started again by the engine", 1, 0, []Observed{good("a", func(s *Observed) { s.State, s.Revivals = Restarting, 1 })}, false, ""},

		{"fewer wished", 1, 0, []Observed{good("a"), good("b"), good("c")}, false, "remove  c  (surplus, 1 wanted)\nremove  b  (surplus, 1 wanted)\n"},
		{"fewer wished, some have a job", 1, 0, []Observed{good("a"), good("b", busy), good("c", busy)}, false, "remove  a  (surplus, 1 wanted)\n"},
		{"surplus that is not connected goes first", 1, 0, []Observed{good("a", missed(time.Second)), good("b")}, false, "remove  a  (surplus, 1 wanted)\n"},
		{"no spare wished", 1, 0, []Observed{good("a"), good("s", spare)}, false, "remove  s  (surplus, 0 spare wanted)\n"},

		{"roll begins with one more", 2, 0, []Observed{good("a", old), good("b", old)}, false, "create  new-1  (before one of another spec is removed)\n"},
		{"roll uses the spare", 2, 1, []Observed{good("a", old), good("b", old), good("s", spare)}, false, "give    s  (before one of another spec is removed)\n"},
		{"roll waits for the new one", 2, 0, []Observed{good("a", old), good("b", old), good("c", doing(Create), unseen)}, false, ""},
		{"roll goes on", 2, 0, []Observed{good("a", changed), good("b", old), good("c")}, false, "remove  b  (its image is not runner:1)\n"},
		{"roll leaves jobs", 2, 0, []Observed{good("a", old, busy), good("b")}, false, ""},
		{"roll of what is not connected", 1, 0, []Observed{good("a", old, missed(time.Second)), good("b", doing(Create), unseen)}, false, "remove  a  (its image is not runner:1)\n"},
		{"old spares go at once", 1, 1, []Observed{good("a"), good("s", spare, old)}, false, "remove  s  (its image is not runner:1)\nspare   new-1  (spare 1 of 1)\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			made := 0
			view := Observation{Now: now, Desired: Desired{Count: test.count, Spares: test.spares, Spec: spec, Ready: time.Minute}, Runners: test.runners, NewName: func() string {
				made++
				return fmt.Sprintf("new-%d", made)
			}}
			if test.held {
				view.NotBefore = now.Add(time.Second)
			}
			var got strings.Builder
			for _, operation := range Reconcile(view).Operations {
				got.WriteString(operation.String())
				if operation.Deferred {
					got.WriteString(" deferred")
				}
				got.WriteString("\n")
			}
			if got.String() != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got.String(), test.want)
			}
		})
	}
}
