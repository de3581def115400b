package controller

import (
	"context"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"golang.org/x/time/rate"
)

const (
	firstLook = 300 * time.Millisecond
	slowLook  = 5 * time.Second
	pageSize  = 100
)

// watch requests GitHub's list once for all callers that wait for a change in it, at growing
// intervals.
type watch struct {
	github fleet.GitHub
	life   context.Context // lifetime of all waiting callers
	budget *rate.Limiter   // in pages; nil: none
	notify func(look)      // called with each list; nil: not called

	mu      sync.Mutex
	pending chan struct{} // closed when the requested list has arrived; nil: none requested
	begun   bool          // a list was requested before
	pause   time.Duration
	list    map[string]fleet.Registration
	err     error
}

// look is one list from GitHub, by runner name.
type look struct {
	asked time.Time // runners made later may be missing
	list  map[string]fleet.Registration
	err   error
}

// hurry shortens the interval again, because a new caller waits.
func (w *watch) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pause = firstLook
}

// next waits for the next list. ctx ends only this wait, not the request, because others wait
// for it too.
func (w *watch) next(ctx context.Context) (map[string]fleet.Registration, error) {
	w.mu.Lock()
	if w.pending == nil {
		w.pending = make(chan struct{})
		pause := max(w.pause, firstLook)
		if !w.begun {
			pause, w.begun = 0, true
		}
		w.pause = min(pause*13/10, slowLook)
		go w.ask(pause, w.pending)
	}
	pending := w.pending
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-pending:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list, w.err
}

func (w *watch) ask(pause time.Duration, pending chan struct{}) {
	select {
	case <-w.life.Done():
	case <-time.After(pause):
	}
	if w.budget != nil {
		w.mu.Lock()
		pages := len(w.list)/pageSize + 1
		w.mu.Unlock()
		_ = w.budget.WaitN(w.life, min(pages, w.budget.Burst())) // fails only when life ends; so does the request
	}
	asked := time.Now()
	all, err := w.github.Registrations(w.life)
	byName := map[string]fleet.Registration{}
	for _, one := range all {
		byName[one.Name] = one
	}
	w.mu.Lock()
	w.list, w.err, w.pending = byName, err, nil
	close(pending)
	w.mu.Unlock()
	if w.notify != nil {
		w.notify(look{asked: asked, list: byName, err: err})
	}
}
