// Package status finds runners on every host: as the engines see them, and as GitHub does. It
// prints nothing. It imports dockerx and internal/{config,fleet,hostcache,session}.
package status

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hostcache"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Query chooses runners.
type Query struct {
	Settings  config.Config
	Fleet     string // "" for every fleet
	NamesOnly bool   // GitHub is not asked, and supervisors are not looked at
	// Warn gets each problem that belongs to no runner or that leaves GitHub's view incomplete,
	// with the session of its host. Hosts call it in parallel.
	Warn func(session.Session, error)
}

// Runners returns the runners of every host, sorted by host and name. If one of several hosts
// fails, the runners of the others are still returned; they are nil if the only host fails.
func (q Query) Runners(ctx context.Context, s session.Session) ([]fleet.Runner, error) {
	all := s.Each()
	var mu sync.Mutex
	runners := []fleet.Runner{} // an empty list in JSON, not null
	failed := session.OnEach(all, func(s session.Session) error {
		found, err := q.runnersOn(ctx, s)
		mu.Lock()
		defer mu.Unlock()
		runners = append(runners, found...)
		return err
	})
	if failed != nil && len(all) == 1 {
		return nil, failed
	}
	slices.SortFunc(runners, func(a, b fleet.Runner) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Name, b.Name))
	})
	return runners, failed
}

// runnersOn returns the runners of one host.
func (q Query) runnersOn(ctx context.Context, s session.Session) ([]fleet.Runner, error) {
	engine, _, err := s.Connect()
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	runners, err := engine.Runners(ctx, q.Fleet)
	if err == nil && !q.NamesOnly {
		warn := func(err error) { q.Warn(s, err) }
		askGitHub(ctx, session.Targets{Session: s, Engine: engine, Settings: q.Settings}, runners, warn)
		addCacheUse(ctx, engine, runners, warn)
		findAbsentSupervisors(ctx, engine, q.Fleet, warn)
	}
	return runners, err
}

// addCacheUse adds the use of the host's cache to the runners of one host.
func addCacheUse(ctx context.Context, engine *dockerx.Engine, runners []fleet.Runner, warn func(error)) {
	if !slices.ContainsFunc(runners, func(runner fleet.Runner) bool { return runner.Cached }) {
		return
	}
	uses, err := hostcache.Uses(ctx, engine)
	if err != nil {
		warn(fmt.Errorf("the use of the cache is not shown: %w", err))
	}
	for i, runner := range runners {
		if use, found := uses[runner.Name]; found && runner.Cached {
			runners[i].Cache = &use
		}
	}
}

// limit bounds the requests to GitHub: the engine's view is returned without them too.
const limit = 15 * time.Second

// askGitHub adds GitHub's view to the runners of one host.
func askGitHub(ctx context.Context, targets session.Targets, runners []fleet.Runner, warn func(error)) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	names := map[string]bool{}
	for _, runner := range runners {
		if runner.Agent.Mode != fleet.NoAgent {
			names[runner.Fleet] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		targets, orphans, err := targets.Join(bounded, name, runners)
		if err != nil { // not wrapped: a hint of one of several causes would mislead
			warn(fmt.Errorf("GitHub's view of fleet %s is missing: %s", name, strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
		if err := addJobs(bounded, targets, runners); err != nil {
			warn(fmt.Errorf("jobs of fleet %s are not shown: %w", name, err))
		}
		for _, one := range orphans {
			warn(fmt.Errorf("GitHub lists %s, but there is no such runner here: the next up or down removes it once it is offline", one.Name))
		}
	}
}

// addJobs adds the page of the current job to busy runners.
func addJobs(ctx context.Context, targets fleet.Targets, runners []fleet.Runner) error {
	for address, forge := range targets {
		busy := func(runner fleet.Runner) bool {
			return runner.Agent.URL == address && runner.Listing != nil && runner.Listing.Busy
		}
		if !slices.ContainsFunc(runners, busy) {
			continue
		}
		urls, err := forge.JobURLs(ctx)
		if err != nil {
			return err
		}
		for _, runner := range runners {
			if busy(runner) {
				runner.Listing.JobURL = urls[runner.Name]
			}
		}
	}
	return nil
}

// AbsentSupervisorError reports a fleet whose supervisor does not run.
type AbsentSupervisorError struct{ fleet, why string }

func (e *AbsentSupervisorError) Error() string {
	return fmt.Sprintf("the supervisor of fleet %s is not running: %s", e.fleet, e.why)
}

// findAbsentSupervisors warns of each fleet of one host whose supervisor does not run. name is
// "" for every fleet.
func findAbsentSupervisors(ctx context.Context, engine *dockerx.Engine, name string, warn func(error)) {
	fleets := []string{name}
	if name == "" {
		var err error
		if fleets, err = engine.Fleets(ctx); err != nil {
			warn(fmt.Errorf("supervisors are not shown: %w", err))
			return
		}
	}
	for _, one := range fleets {
		why, err := engine.SupervisorAway(ctx, one)
		switch {
		case err != nil:
			warn(fmt.Errorf("the supervisor of fleet %s is not shown: %w", one, err))
		case why != "":
			warn(&AbsentSupervisorError{one, why})
		}
	}
}
