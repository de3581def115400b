package controller

import (
	"context"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// cacheLimit is how long the start of a cache may take.
const cacheLimit = 2 * time.Minute

// cacheWatch is the state of the host's cache, as of the last look.
type cacheWatch struct{ underWay, failing bool }

// keepCache starts the host's cache if it does not run.
func (l *loop) keepCache(ctx context.Context) {
	if l.desired.Cache == nil || l.KeepCache == nil || l.cache.underWay {
		return
	}
	l.cache.underWay = true
	l.start(ctx, keepCache{l.desired, l.KeepCache})
}

// keepCache starts the host's cache if it does not run.
type keepCache struct {
	desired fleet.Desired
	keep    func(context.Context, fleet.Desired) (bool, error)
}

func (a keepCache) run(ctx context.Context, _ *executor) outcome {
	bounded, cancel := context.WithTimeout(ctx, cacheLimit)
	defer cancel()
	started, err := a.keep(bounded, a.desired)
	return cacheKept{started: started, err: err, ended: ctx.Err() != nil}
}

// cacheKept reports whether the cache was started.
type cacheKept struct {
	started bool
	err     error
	ended   bool // with the supervisor
}

// apply emits an event for each change. Jobs do without a cache meanwhile.
func (k cacheKept) apply(l *loop) {
	before := l.cache.failing
	l.cache = cacheWatch{failing: k.err != nil}
	switch {
	case k.ended:
	case k.err != nil && !before:
		l.emit(fleet.Event{Kind: fleet.FailedEvent, Text: "the host's cache does not answer, so jobs use GitHub and the registries directly: " + firstLine(k.err)})
	case k.err == nil && k.started:
		l.emit(fleet.Event{Kind: fleet.CacheEvent, Text: "the host's cache did not run, and was started"})
	case k.err == nil && before:
		l.emit(fleet.Event{Kind: fleet.CacheEvent, Text: "the host's cache answers again"})
	}
}
