package controller

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// up ends although the jobs in GitHub's queue end each new runner at once.
func TestConvergeWithALongQueue(t *testing.T) {
	w := newOutside()
	w.connect = (*outside).through
	done, err := converge(t, w, fleet.Desired{Count: 2, Spec: jitSpec, Ready: time.Second})
	if err != nil || w.count("create") != 2 || done["ci-b"] != "daemon 26.1, had its job already" {
		t.Errorf("error %v, %d runners made, reports %v; want 2 runners that had their job", err, w.count("create"), done)
	}
}

// A single run does not try again, and the other operations go on.
func TestConvergeFails(t *testing.T) {
	w := newOutside()
	w.connect = func(w *outside, name string) {
		if name != "ci-b" {
			w.online(name)
		}
	}
	done, err := converge(t, w, fleet.Desired{Count: 3, Spec: jitSpec, Ready: time.Second})
	var late *fleet.NotOnlineError
	if !errors.As(err, &late) || late.Runner != "ci-b" || w.count("create") != 3 || done["ci-c"] != "daemon 26.1, online" {
		t.Errorf("error %v, %d runners made, reports %v; want ci-b to fail alone", err, w.count("create"), done)
	}
	if runners, registrations := w.all(); !slices.Equal(runners, []string{"ci-c", "ci-d"}) || !slices.Equal(registrations, runners) {
		t.Errorf("runners %v, registrations %v; want ci-c and ci-d", runners, registrations)
	}
}

func TestConvergeWithoutGitHub(t *testing.T) {
	w := newOutside()
	w.listErrs = []error{errors.New("502")}
	var list *ListError
	if _, err := converge(t, w, fleet.Desired{Count: 1, Spec: jitSpec, Ready: time.Second}); !errors.As(err, &list) || !slices.Equal(list.URLs, []string{acme}) || len(w.events) > 0 {
		t.Errorf("error %v after %v; want a ListError before anything is done", err, w.events)
	}
}

// Runners of another spec are replaced one by one or at once, as the policy says. Down removes
// all.
func TestConvergePolicies(t *testing.T) {
	for name, test := range map[string]struct {
		policy fleet.Policy
		least  int // runners online during the change
		left   int
	}{
		"one by one": {fleet.Policy{}, 3, 3},
		"at once":    {fleet.Policy{AtOnce: true}, 0, 3},
		"down":       {fleet.Policy{Down: true, JobWait: time.Minute}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOutside()
			old := jitSpec
			old.ImageID = "sha256:0"
			for _, name := range []string{"ci-x", "ci-y", "ci-z"} {
				w.start(name, old)
				w.online(name)
			}
			least := 3
			w.onRemove = func(w *outside, _ string) {
				online := 0
				for name, one := range w.registrations {
					if one.Online && w.runners[name].State == fleet.Running {
						online++
					}
				}
				least = min(least, online)
			}
			spec := jitSpec
			spec.ImageID = "sha256:1"
			if _, err := converge(t, w, fleet.Desired{Count: 3, Spec: spec, Ready: time.Second, Policy: test.policy}); err != nil {
				t.Fatal(err)
			}
			runners, registrations := w.all()
			if len(runners) != test.left || !slices.Equal(runners, registrations) || least < test.least || slices.Contains(runners, "ci-x") {
				t.Errorf("runners %v, registrations %v, %d online at the least; want %d new ones, %d online", runners, registrations, least, test.left, test.least)
			}
		})
	}
}

// After a supervisor is gone, up and another supervisor make the same next plan.
func TestSameNextPlan(t *testing.T) {
	for name, happens := range map[string]func(s *supervised, desired *fleet.Desired){
		"a larger count":   func(_ *supervised, desired *fleet.Desired) { desired.Count = 5 },
		"a smaller count":  func(_ *supervised, desired *fleet.Desired) { desired.Count = 2 },
		"another image":    func(_ *supervised, desired *fleet.Desired) { desired.Spec.ImageID = "sha256:2" },
		"a runner ended":   func(s *supervised, _ *fleet.Desired) { s.through("ci-2222") },
		"a runner crashed": func(s *supervised, _ *fleet.Desired) { s.end("ci-2223", 137) },
		"a registration without a runner": func(s *supervised, _ *fleet.Desired) {
			s.registrations["ci-9999"] = fleet.Registration{URL: acme, ID: 99, Name: "ci-9999"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			supervise(t, fleet.Desired{Count: 3, Spares: 1}, nil, func(s *supervised) {
				s.after(5 * time.Second)
				s.stop()
				desired := *s.store.desired
				s.do(func() { happens(s, &desired) })
				s.do(func() { s.store.desired = &desired })
				s.after(time.Second)

				desired.Policy.Once = true
				named := s.named
				up := Controller{Fleet: "ci", Engine: s.outside, Targets: fleet.Targets{acme: s.outside}, NewName: s.newName}
				plan, err := up.Plan(context.Background(), desired)
				if err != nil {
					s.t.Fatal(err)
				}
				s.named = named // the same names for the supervisor
				before := len(s.eventsOf(fleet.PlanEvent, ""))
				s.begin()
				s.after(5 * time.Second)
				events := s.eventsOf(fleet.PlanEvent, "")
				if got, want := plan.String(), events[before].Text; got != want || got == "" {
					s.t.Errorf("up plans\n%s\nand the supervisor\n%s", got, want)
				}
			})
		})
	}
}

// Ctrl-C ends the wait for a runner that does not answer.
func TestConvergeIsInterruptedWhileSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOutside()
		one := w.standing("ci-a", jitSpec.Agent)
		one.Problem = "dockerd does not run"
		w.runners["ci-a"] = one
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, interrupt)
		c := Controller{Fleet: "ci", Engine: w, Targets: fleet.Targets{acme: w}, NewName: func() string { return "ci-b" }}
		started := time.Now()
		err := c.Converge(ctx, fleet.Desired{Count: 1, Spec: jitSpec, Ready: time.Minute, Policy: fleet.Policy{Once: true}})
		if !errors.Is(err, context.Canceled) || time.Since(started) > 3*time.Second || len(w.runners) != 1 {
			t.Errorf("error %v after %s, runners %v; want it canceled and the runner kept", err, time.Since(started), w.runners)
		}
	})
}

// A single run makes no spare, also while it does something else, and leaves waiting spares.
func TestConvergeMakesNoSpares(t *testing.T) {
	w := newOutside()
	for _, name := range []string{"ci-x", "ci-y"} {
		w.start(name, jitSpec)
		w.online(name)
	}
	if _, err := converge(t, w, fleet.Desired{Count: 1, Spares: 1, Spec: jitSpec, Ready: time.Second}); err != nil {
		t.Fatal(err)
	}
	if runners, _ := w.all(); w.count("spare") != 0 || w.count("create") != 0 || len(runners) != 1 {
		t.Errorf("runners %v after %v, want one removed and no spare", runners, w.events)
	}
}

// A silent runner is removed before a runner that answers, and a dry run shows it.
func TestSilentRunnerIsSurplus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOutside()
		w.standing("ci-a", jitSpec.Agent)
		w.standing("ci-b", jitSpec.Agent)
		silent := w.runners["ci-a"]
		silent.Problem, silent.Created = "/run/docker.sock is gone", time.Now().Add(-time.Hour) // the older one
		w.runners["ci-a"] = silent
		desired := fleet.Desired{Count: 1, Spec: jitSpec, Ready: time.Minute, Policy: fleet.Policy{Once: true, AtOnce: true}}
		c := Controller{Fleet: "ci", Engine: w, Targets: fleet.Targets{acme: w}, NewName: func() string { return "ci-c" }}
		plan, err := c.Plan(t.Context(), desired)
		if got, want := plan.String(), "remove ci-a (not answering: /run/docker.sock is gone)"; err != nil || got != want {
			t.Errorf("plan %q, error %v, want %q", got, err, want)
		}
		if err := c.Converge(t.Context(), desired); err != nil || len(w.runners) != 1 || w.runners["ci-b"].Name == "" {
			t.Errorf("error %v, runners %v, want ci-b only", err, w.runners)
		}
	})
}
