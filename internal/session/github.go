package session

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// UserAgent is this program's name at GitHub.
func (s Session) UserAgent() string { return "runnerctl/" + s.Version }

// Opener opens clients of GitHub with this process's environment.
func (s Session) Opener() access.Opener { return access.Opener{Env: s.Env, UserAgent: s.UserAgent()} }

// Facts gathers facts for doctor's checks.
func (s Session) Facts(engine *dockerx.Engine, endpoint dockerx.Endpoint, loaded config.Config) facts.Source {
	return facts.Source{Engine: engine, Endpoint: endpoint, Settings: loaded, GitHub: s.Opener(), GOOS: s.GOOS}
}

// Targets opens and lists the GitHub targets of fleets on one engine.
type Targets struct {
	Session
	Engine   *dockerx.Engine
	Settings config.Config
	Own      *access.Target // of the settings; nil if it is not open yet, or there is none
}

// Join adds GitHub's listing to a fleet's runners. It returns the registrations that no runner
// has. An *UnaskedError explains why the listing of some targets is not available.
func (t Targets) Join(ctx context.Context, name string, runners []fleet.Runner) (fleet.Targets, []fleet.Registration, error) {
	targets, opening := t.Open(ctx, name, runners)
	var unasked *UnaskedError
	if opening != nil && !errors.As(opening, &unasked) {
		return nil, nil, opening
	}
	var orphans []fleet.Registration
	var failures []error
	for _, address := range slices.Sorted(maps.Keys(targets)) {
		listed, err := targets[address].Registrations(ctx)
		if err != nil {
			failures = append(failures, err)
			delete(targets, address)
			continue
		}
		orphans = append(orphans, fleet.Join(runners, name, address, listed)...)
	}
	if opening != nil {
		failures = append(failures, unasked.error)
	}
	if len(failures) > 0 {
		return targets, orphans, &UnaskedError{errors.Join(failures...)}
	}
	return targets, orphans, nil
}

// Open opens the targets of a fleet's runners and of the settings. An *UnaskedError explains why
// some of them can't be opened; the others are returned all the same.
func (t Targets) Open(ctx context.Context, name string, runners []fleet.Runner) (fleet.Targets, error) {
	urls := targetsOf(runners, t.Settings, name)
	if len(urls) == 0 {
		return nil, nil
	}
	facts, err := t.Engine.Facts(ctx)
	if err != nil {
		return nil, err
	}
	targets := fleet.Targets{}
	var failures []error
	for _, address := range urls {
		client, group, err := t.client(ctx, address)
		if err != nil {
			failures = append(failures, err)
			markUnasked(runners, name, address, err)
			continue
		}
		targets[address] = ghapi.NewFleetClient(client, fleet.Marker(name, facts.ID), group, facts.Arch)
	}
	if len(failures) > 0 {
		return targets, &UnaskedError{errors.Join(failures...)}
	}
	return targets, nil
}

// client returns a client of a target, and the id of the runner group there.
func (t Targets) client(ctx context.Context, address string) (*ghapi.Client, int64, error) {
	if t.Own != nil && t.Own.Client.Target().URL() == address {
		return t.Own.Client, t.Own.Group.ID, nil
	}
	client, err := t.Opener().Client(ctx, t.Settings, address)
	return client, 0, err
}

// Unlisted marks the error of a loop that could not list a target's runners.
func Unlisted(err error) error {
	var list *controller.ListError
	if errors.As(err, &list) {
		return &UnaskedError{list.Err}
	}
	return err
}

// markUnasked marks runners for which GitHub was not asked, to distinguish them from runners
// for which GitHub did not answer.
func markUnasked(runners []fleet.Runner, name, address string, err error) {
	var elsewhere *access.OtherHostError
	if !errors.As(err, &elsewhere) {
		return
	}
	for i := range runners {
		if runner := &runners[i]; runner.Fleet == name && runner.Agent.Mode != fleet.NoAgent && runner.Agent.URL == address {
			runner.Listing = &fleet.Listing{State: fleet.NotAsked}
		}
	}
}

// targetsOf lists the targets that a fleet's runners are registered with, and the settings'
// target if the settings are of this fleet.
func targetsOf(runners []fleet.Runner, loaded config.Config, name string) (urls []string) {
	for _, runner := range runners {
		if runner.Fleet == name && runner.Agent.Mode != fleet.NoAgent {
			urls = append(urls, runner.Agent.URL)
		}
	}
	if loaded.Target != "" && name == loaded.Name {
		if target, err := ghapi.ParseTarget(loaded.Target); err == nil {
			urls = append(urls, target.URL())
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// UnaskedError reports a fleet for which GitHub's view is not available.
type UnaskedError struct{ error }

// Unwrap returns the reason.
func (e *UnaskedError) Unwrap() error { return e.error }
