package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var cacheChecks = []Check{
	{ID: "cache.space", Title: "disk for the cache", Group: "Cache", Severity: Advice, Needs: NeedsEngine | NeedsSpace, Run: cacheSpace,
		Why: "a cache that fills the disk leaves no room for the runners"},
	{ID: "cache.runs", Title: "the host's cache", Group: "Cache", Severity: Advice, Needs: NeedsEngine, Run: cacheRuns,
		Why: "without it, jobs use GitHub and the registries directly"},
	{ID: "cache.reaches", Title: "ways out of the cache", Group: "Cache", Severity: Advice, Needs: NeedsEngine | NeedsOutside | NeedsReach, Run: cacheReaches,
		Why: "the cache verifies tokens with GitHub's keys, passes other requests on, and downloads images"},
	{ID: "cache.clock", Title: "clock of the cache", Group: "Cache", Severity: Advice, Needs: NeedsEngine | NeedsOutside | NeedsReach, Run: cacheClock,
		Why: "tokens of jobs contain times, and the cache refuses them if the clock of the machine is minutes off"},
}

// Reach describes how the cache reaches the servers that it needs.
type Reach struct {
	Problems map[string]string // by server that does not answer
	Skew     time.Duration     // largest difference between a server's clock and the machine's; positive: the server is ahead
}

// Cache is the cache of the engine's machine.
type Cache struct {
	Exists, Running bool
	Restarts        int // since it was created
	ExitCode        int // of its last end
}

const noCache = "off: cache.size is 0"

// withoutReach is the outcome while no cache runs.
func withoutReach(f Facts) (outcome Outcome, none bool) {
	switch {
	case f.Wanted.Cache == 0:
		return pass(noCache), true
	case !f.Cache.Running:
		return skip("the cache does not run"), true
	}
	return outcome, false
}

func cacheReaches(f Facts) Outcome {
	if outcome, none := withoutReach(f); none {
		return outcome
	}
	if len(f.Reach.Problems) == 0 {
		return pass("all servers answer")
	}
	var all []string
	for _, server := range slices.Sorted(maps.Keys(f.Reach.Problems)) {
		all = append(all, server+": "+f.Reach.Problems[server])
	}
	return Outcome{Warn, strings.Join(all, "; "), advice("allow the engine's machine to reach them, or set runners.proxy")}
}

func cacheClock(f Facts) Outcome {
	if outcome, none := withoutReach(f); none {
		return outcome
	}
	if skew := f.Reach.Skew.Abs(); skew > time.Minute {
		return Outcome{Warn, fmt.Sprintf("a server's clock and the machine's differ by %s", skew.Round(time.Second)), advice("synchronize the clock of the engine's machine: timedatectl set-ntp true")}
	}
	return pass("agrees")
}

func cacheSpace(f Facts) Outcome {
	if f.Wanted.Cache == 0 {
		return pass(noCache)
	}
	observed := fmt.Sprintf("%d GiB free in %s, %d GiB for the cache", f.Space.Free>>30, f.Engine.RootDir, f.Wanted.Cache>>30)
	if !f.Cache.Exists && f.Space.Free < f.Wanted.Cache+imageBytes { // an existing one may be full already
		return Outcome{Warn, observed, advice("free some space, or reduce cache.size")}
	}
	return pass("%s", observed)
}

func cacheRuns(f Facts) Outcome {
	switch {
	case f.Wanted.Cache == 0:
		return pass(noCache)
	case !f.Cache.Exists:
		return skip("not started yet: up starts it")
	case !f.Cache.Running:
		return Outcome{Warn, fmt.Sprintf("not running (exit code %d)", f.Cache.ExitCode), advice("run docker logs runnerctl-cache for the reason; runnerctl up starts it")}
	case f.Cache.Restarts > 0:
		return Outcome{Warn, fmt.Sprintf("restarted %d times", f.Cache.Restarts), advice("run docker logs runnerctl-cache for the reason")}
	}
	return pass("running")
}
