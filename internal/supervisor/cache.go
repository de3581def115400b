package supervisor

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/cache"
	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hostcache"
	"github.com/runnerctl/runnerctl/internal/metrics"
)

// keepCache starts the host's cache if it does not run, with this program and the certificate
// authorities of this process and of the fleet's GitHub.
func (s *Supervisor) keepCache(ctx context.Context, desired fleet.Desired) (started bool, err error) {
	wanted := hostcache.Wanted{Roots: access.RootsWith(s.reach.CAs)}
	if err := json.Unmarshal(desired.Cache, &wanted.Config); err != nil {
		return false, err
	}
	if started, err = wanted.Keep(ctx, s.Engine); err != nil {
		return started, err
	}
	var count counts.Count
	if err := hostcache.Do(ctx, s.Engine, cache.Request{Method: http.MethodGet, Path: "/counts"}, &count); err != nil {
		return started, err
	}
	s.metrics.SetCache(metrics.Cache(count))
	return started, nil
}

// cacheUse returns the use of the host's cache by a runner; nil if it did not use it.
func (s *Supervisor) cacheUse(ctx context.Context, runner string) (*fleet.CacheUse, error) {
	var count counts.Count
	if err := hostcache.Do(ctx, s.Engine, cache.Request{Method: http.MethodDelete, Path: "/counts/" + runner}, &count); err != nil {
		return nil, err
	}
	if count == (counts.Count{}) {
		return nil, nil
	}
	use := hostcache.Use(count)
	return &use, nil
}
