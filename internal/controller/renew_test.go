package controller

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// dated is a Forge whose deprecation day can be changed by the test.
type dated struct {
	*world
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
	forge := &dated{}
	supervise(t, fleet.Wish{Count: 2, Agent: "2.330.0", Spec: spec}, func(s *supervised) {
		forge.world = s.world
		forge.days.Store(30)
		s.connect = func(w *world, name string) {
			if w.runners[name].ImageID != "sha256:2" && forge.days.Load() < 0 {
				w.end(name, fleet.NotSetUp)
				return
			}
			w.online(name)
		}
		s.with = func(supervision *Controller) {
			supervision.Forges[acme] = forge
			supervision.Rebuild = func(_ context.Context, wish fleet.Wish) (fleet.Wish, error) {
				wish.Spec.ImageID, wish.Agent = "sha256:2", "2.331.0"
				return wish, nil
			}
		}
	}, func(s *supervised) {
		s.after(time.Hour)
		forge.days.Store(-1)
		s.do(func() { s.end("ci-2222", 1) })
		s.after(10 * time.Minute)
		s.whole(2, 0)
		if got := s.told(fleet.ImageEvent, "made anew"); len(got) != 1 || forge.asked.Load() != 2 {
			t.Errorf("%v, asked %d times", got, forge.asked.Load())
		}
	})
}
