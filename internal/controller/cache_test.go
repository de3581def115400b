package controller

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Each change of the host's cache is one event.
func TestCacheIsKept(t *testing.T) {
	var looks atomic.Int64
	var started atomic.Bool
	var failure atomic.Value
	keep := func(context.Context, fleet.Desired) (bool, error) {
		looks.Add(1)
		if err, failing := failure.Load().(error); failing && err.Error() != "" {
			return false, err
		}
		return started.Swap(false), nil
	}
	supervise(t, fleet.Desired{Count: 1, Cache: json.RawMessage("{}")}, func(s *supervised) { s.with = func(c *Controller) { c.KeepCache = keep } }, func(s *supervised) {
		check := func(after string, failures, changes int) {
			t.Helper()
			s.after(5 * slowTick)
			failed, changed := s.eventsOf(fleet.FailedEvent, "the host's cache does not answer"), s.eventsOf(fleet.CacheEvent, "")
			if len(failed) != failures || len(changed) != changes {
				t.Errorf("after %s: %d failures and %d changes, want %d and %d", after, len(failed), len(changed), failures, changes)
			}
		}
		check("a good start", 0, 0)
		started.Store(true)
		check("a cache that was gone", 0, 1)
		failure.Store(errors.New("no disk"))
		check("a cache that can't be started", 1, 1)
		failure.Store(errors.New(""))
		check("a cache that answers again", 1, 2)
		if looks.Load() < 15 {
			t.Errorf("%d looks, want one a minute", looks.Load())
		}
	})
}

func TestNoCacheIsKept(t *testing.T) {
	keep := func(context.Context, fleet.Desired) (bool, error) {
		t.Error("the cache of a fleet without one was started")
		return false, nil
	}
	supervise(t, fleet.Desired{Count: 1}, func(s *supervised) { s.with = func(c *Controller) { c.KeepCache = keep } }, func(s *supervised) { s.after(2 * time.Minute) })
}

// The record of a job says how it used the cache. A fleet without a cache does not ask.
func TestCacheUseOfAJob(t *testing.T) {
	for name, desired := range map[string]fleet.Desired{"cache": {Count: 1, Cache: json.RawMessage("{}")}, "no cache": {Count: 1}} {
		t.Run(name, func(t *testing.T) {
			supervise(t, desired, func(s *supervised) {
				s.with = func(c *Controller) {
					c.CacheUse = func(_ context.Context, runner string) (*fleet.CacheUse, error) {
						if runner != "ci-2222" {
							return nil, errors.New(runner + " had no job")
						}
						return &fleet.CacheUse{Hits: 2, RestoredBytes: 3}, nil
					}
				}
			}, func(s *supervised) {
				s.after(5 * time.Second)
				s.do(func() { s.worked["ci-2222"] = true; s.through("ci-2222") })
				s.after(time.Minute)
				s.do(func() {
					use := s.store.records["ci-2222"].Cache
					if got, want := use != nil && *use == (fleet.CacheUse{Hits: 2, RestoredBytes: 3}), desired.Cache != nil; got != want {
						t.Errorf("record with %+v, want the use: %t", use, want)
					}
				})
				ended := s.eventsOf(fleet.EndedEvent, "")
				if len(ended) != 1 || strings.Contains(ended[0].Text, "; cache hits: 2, misses: 0") != (desired.Cache != nil) {
					t.Errorf("events %+v, want one, with the use: %t", ended, desired.Cache != nil)
				}
			})
		})
	}
}
