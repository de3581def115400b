package controller

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// dated is a GitHub client whose deprecation day can be changed by the test.
type dated struct {
	*outside
	days  atomic.Int64
	asked atomic.Int64
}

func (d *dated) Deprecated(context.Context, string) (time.Time, error) {
	d.asked.Add(1)
	return time.Now().Add(time.Duration(d.days.Load()) * 24 * time.Hour), nil
}

// If an agent that registers itself is too old, it fails like any other agent that can't
// register. GitHub is asked for its last day at once, but not after each failure.
func TestAgentTooOldToRegister(t *testing.T) {
	spec := supervisedSpec
	spec.Agent.Mode = fleet.Token
	github := &dated{}
	supervise(t, fleet.Desired{Count: 2, Agent: "2.330.0", Spec: spec}, func(s *supervised) {
		github.outside = s.outside
		github.days.Store(30)
		s.connect = func(w *outside, name string) {
			if w.runners[name].ImageID != "sha256:2" && github.days.Load() < 0 {
				w.end(name, fleet.NotSetUp)
				return
			}
			w.online(name)
		}
		s.with = func(supervision *Controller) {
			supervision.Targets[acme] = github
			supervision.Rebuild = func(_ context.Context, desired fleet.Desired) (fleet.Desired, error) {
				desired.Spec.ImageID, desired.Agent = "sha256:2", "2.331.0"
				return desired, nil
			}
		}
	}, func(s *supervised) {
		s.after(time.Hour)
		github.days.Store(-1)
		s.do(func() { s.end("ci-2222", 1) })
		s.after(10 * time.Minute)
		s.whole(2, 0)
		if got := s.eventsOf(fleet.ImageEvent, "rebuilt"); len(got) != 1 || github.asked.Load() != 2 {
			t.Errorf("%v, asked %d times", got, github.asked.Load())
		}
	})
}
