package fleet

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// dated is a forge whose day comes near while nobody asks.
type dated struct {
	*world
	days  atomic.Int64
	asked atomic.Int64
}

func (d *dated) Deprecated(context.Context, string) (time.Time, error) {
	d.asked.Add(1)
	return time.Now().Add(time.Duration(d.days.Load()) * 24 * time.Hour), nil
}

// An agent that registers itself and is too old for it fails as any other that can't
// register: the forge is asked for its day at once, and not for each of them.
func TestAgentTooOldToRegister(t *testing.T) {
	spec := supervisedSpec
	spec.Agent.Mode = Token
	forge := &dated{}
	supervise(t, Wish{Count: 2, Agent: "2.330.0", Spec: spec}, func(s *supervised) {
		forge.world = s.world
		forge.days.Store(30)
		s.connect = func(w *world, name string) {
			if w.runners[name].ImageID != "sha256:2" && forge.days.Load() < 0 {
				w.end(name, notSetUp)
				return
			}
			w.online(name)
		}
		s.with = func(supervision *Supervision) {
			supervision.Forges[acme] = forge
			supervision.Rebuild = func(_ context.Context, wish Wish) (Wish, error) {
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
		if got := s.told(ImageEvent, "made anew"); len(got) != 1 || forge.asked.Load() != 2 {
			t.Errorf("%v, asked %d times", got, forge.asked.Load())
		}
	})
}
