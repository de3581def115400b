package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	// gather is how long events wait for others, so that one write covers all of them.
	gather = 2 * time.Second
	// unwritten is how many events are held in memory while they can't be written.
	unwritten = 1000
	// writeLimit is how long one write may take.
	writeLimit = 10 * time.Second
)

// journal reports events at once and writes them to the store in batches.
type journal struct {
	store   fleet.Store
	observe func(fleet.Event)

	mu      sync.Mutex
	waiting []fleet.Event
	some    chan struct{}
}

func newJournal(c Controller) *journal {
	return &journal{store: c.Store, observe: c.Observe, some: make(chan struct{}, 1)}
}

func (j *journal) add(event fleet.Event) {
	event.Time = time.Now().UTC()
	if j.observe != nil {
		j.observe(event)
	}
	if j.store == nil {
		return
	}
	j.mu.Lock()
	j.waiting = append(j.waiting, event)
	j.waiting = j.waiting[max(0, len(j.waiting)-unwritten):]
	j.mu.Unlock()
	select {
	case j.some <- struct{}{}:
	default:
	}
}

// keep writes events until ctx ends, and then writes the remaining ones.
func (j *journal) keep(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-j.some:
			sleep(ctx, gather)
		}
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
		j.write(last)
		cancel()
	}
}

func (j *journal) write(ctx context.Context) {
	j.mu.Lock()
	events := j.waiting
	j.waiting = nil
	j.mu.Unlock()
	if len(events) == 0 {
		return
	}
	if err := j.store.AppendEvents(ctx, events); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.waiting = append(events, j.waiting...)
		j.waiting = j.waiting[max(0, len(j.waiting)-unwritten):]
		if j.observe != nil {
			j.observe(fleet.Event{Time: time.Now().UTC(), Fleet: events[0].Fleet, Kind: fleet.FailedEvent, Text: fmt.Sprintf("events are not kept: %v", err)})
		}
	}
}
