package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// A runner whose daemon jobs can't use is replaced after two looks, unless it has a job or its
// daemon answers again.
func TestNotAnswering(t *testing.T) {
	const cause = "/run/docker.sock is gone"
	breaks := func(s *supervised, name, problem string) {
		s.do(func() { one := s.runners[name]; one.Problem = problem; s.runners[name] = one })
	}
	t.Run("replaced", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 3, Spares: 1}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			broken := s.onlineNames()[0]
			breaks(s, broken, cause)
			s.after(2 * time.Minute)
			s.whole(3, 1)
			if len(s.eventsOf(fleet.FailedEvent, "not answering: "+cause)) != 1 || len(s.eventsOf(fleet.RemovedEvent, "not answering: "+cause)) != 1 || s.count("remove") != 1 {
				t.Errorf("%v", s.store.events)
			}
			if record, _ := s.store.Record(t.Context(), broken); record == nil || record.Cause != "not answering: "+cause {
				t.Errorf("its record: %+v", record)
			}
		})
	})
	t.Run("a spare", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 1, Spares: 1}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			for name, one := range s.runners {
				if one.Start == fleet.Spare {
					breaks(s, name, cause)
				}
			}
			s.after(2 * time.Minute)
			s.whole(1, 1)
			if s.count("remove") != 1 {
				t.Errorf("%v", s.events)
			}
		})
	})
	t.Run("answers again", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 3}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			broken := s.onlineNames()[0]
			breaks(s, broken, cause)
			for range 100 { // until the first look, whenever that is
				s.after(time.Second)
				if len(s.eventsOf(fleet.FailedEvent, cause)) > 0 {
					break
				}
			}
			breaks(s, broken, "")
			s.after(10 * time.Minute)
			s.whole(3, 0)
			if s.count("remove") > 0 {
				t.Error("it was replaced")
			}
		})
	})
	t.Run("busy", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 3}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			busy := s.onlineNames()[0]
			s.setBusy(busy, true)
			s.after(2 * time.Minute)
			breaks(s, busy, cause)
			s.after(10 * time.Minute)
			if s.count("remove") > 0 {
				t.Error("a runner with a job was replaced")
			}
		})
	})
	t.Run("all at once", func(t *testing.T) {
		supervise(t, fleet.Desired{Count: 8}, nil, func(s *supervised) {
			s.after(5 * time.Second)
			for _, name := range s.onlineNames() {
				breaks(s, name, cause)
			}
			s.onRemove = func(w *outside, name string) {
				online := 0
				for name, one := range w.registrations {
					if one.Online && w.runners[name].State == fleet.Running {
						online++
					}
				}
				if online < 6 {
					t.Errorf("%s is removed while %d of 8 are online", name, online)
				}
			}
			s.after(5 * time.Minute)
			s.whole(8, 0)
			if removed := s.count("remove"); removed != 8 {
				t.Errorf("%d were removed", removed)
			}
		})
	})
}

// A runner whose daemon is just being restarted is kept by up, and a runner that stays silent is
// replaced.
func TestSettle(t *testing.T) {
	for problem, lasts := range map[string]time.Duration{"dockerd does not run": 3 * time.Second, "/run/docker.sock is gone": time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newOutside()
			w.standing("ci-a", jitSpec.Agent)
			breaks := func(problem string) {
				w.do(func() { one := w.runners["ci-a"]; one.Problem = problem; w.runners["ci-a"] = one })
			}
			breaks(problem)
			heals := time.AfterFunc(lasts, func() { breaks("") })
			defer heals.Stop()
			started := time.Now()
			done, err := converge(t, w, fleet.Desired{Count: 1, Spec: jitSpec, Ready: time.Minute})
			kept, took := w.runners["ci-a"].Name != "", time.Since(started)
			if err != nil || kept != (lasts < time.Minute) || took > fleet.SettleLimit+5*time.Second || took < min(lasts, fleet.SettleLimit) {
				t.Errorf("%q for %s: error %v, kept %t after %s: %v", problem, lasts, err, kept, took, done)
			}
			if !kept && done["ci-a"] != "removed: "+fleet.NotAnswering+problem {
				t.Errorf("%q: reported as %q", problem, done["ci-a"])
			}
		})
	}
}
