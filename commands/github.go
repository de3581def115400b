package commands

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// githubFlags are the flags of commands that ask GitHub.
func githubFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", Usage: "`URL` that runners take jobs from: https://github.com/OWNER/REPO, /ORG or /enterprises/E", DefaultText: "the file's target:, else none", EnvVars: []string{"RUNNERCTL_TARGET"}, Category: "GitHub"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with GitHub's token", DefaultText: "$RUNNERCTL_TOKEN, the file's github:, $GITHUB_TOKEN, $GH_TOKEN, gh auth token", EnvVars: []string{"RUNNERCTL_TOKEN_FILE"}, Category: "GitHub"},
	}
}

// userAgent is this program's name at GitHub.
func userAgent() string { return "runnerctl/" + Version }

// opener opens clients of GitHub with this process's environment.
func (d deps) opener() access.Opener { return access.Opener{Env: d.env, UserAgent: userAgent()} }

// facts gathers facts for doctor's checks.
func (d deps) facts(engine *dockerx.Engine, endpoint dockerx.Endpoint, loaded config.Config) facts.Source {
	return facts.Source{Engine: engine, Endpoint: endpoint, Settings: loaded, GitHub: d.opener(), GOOS: d.goos}
}

// githubSettings overrides the file's settings with the flags.
func githubSettings(c *cli.Context, loaded *config.Config) {
	if c.IsSet("target") {
		loaded.Target = c.String("target")
	}
	if c.IsSet("token-file") {
		loaded.GitHub.TokenFlag = c.String("token-file")
	}
	if c.IsSet("ephemeral") {
		loaded.Runners.Ephemeral = c.Bool("ephemeral")
	}
}

// observe looks at a fleet from both sides: it joins the runners on the engine with the
// registrations that every target of the runners and of the settings lists. orphans are
// registrations without a runner.
func observe(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config, name string, own *access.Target) (runners []fleet.Runner, forges fleet.Forges, orphans []fleet.Registration, err error) {
	if runners, err = engine.Runners(ctx, name); err != nil {
		return nil, nil, nil, err
	}
	forges, orphans, err = joinGitHub(ctx, d, engine, loaded, name, runners, own)
	return runners, forges, orphans, err
}

// joinGitHub adds GitHub's listing to a fleet's runners. An *unaskedError explains why the
// listing is not available.
func joinGitHub(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config, name string, runners []fleet.Runner, own *access.Target) (fleet.Forges, []fleet.Registration, error) {
	forges, opening := openForges(ctx, d, engine, loaded, name, runners, own)
	var unasked *unaskedError
	if opening != nil && !errors.As(opening, &unasked) {
		return nil, nil, opening
	}
	var orphans []fleet.Registration
	var failures []error
	for _, address := range slices.Sorted(maps.Keys(forges)) {
		listed, err := forges[address].Registrations(ctx)
		if err != nil {
			failures = append(failures, err)
			delete(forges, address)
			continue
		}
		orphans = append(orphans, fleet.Join(runners, name, address, listed)...)
	}
	if opening != nil {
		failures = append(failures, unasked.error)
	}
	if len(failures) > 0 {
		return forges, orphans, &unaskedError{errors.Join(failures...)}
	}
	return forges, orphans, nil
}

// openForges opens the targets of a fleet's runners and of the settings. An *unaskedError
// explains why some of them can't be opened; the others are returned all the same.
func openForges(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config, name string, runners []fleet.Runner, own *access.Target) (fleet.Forges, error) {
	urls := targetsOf(runners, loaded, name)
	if len(urls) == 0 {
		return nil, nil
	}
	facts, err := engine.Facts(ctx)
	if err != nil {
		return nil, err
	}
	forges := fleet.Forges{}
	var failures []error
	for _, address := range urls {
		forge, err := openForge(ctx, d, loaded, address, own, fleet.Marker(name, facts.ID), facts.Arch)
		if err != nil {
			failures = append(failures, err)
			markUnasked(runners, name, address, err)
			continue
		}
		forges[address] = forge
	}
	if len(failures) > 0 {
		return forges, &unaskedError{errors.Join(failures...)}
	}
	return forges, nil
}

// unlisted marks the error of a loop that could not list a target's runners.
func unlisted(err error) error {
	var list *controller.ListError
	if errors.As(err, &list) {
		return &unaskedError{list.Err}
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

func openForge(ctx context.Context, d deps, loaded config.Config, address string, own *access.Target, marker, arch string) (*ghapi.Forge, error) {
	if own != nil && own.Client.Target().URL() == address {
		return ghapi.NewForge(own.Client, marker, own.Group.ID, arch), nil
	}
	client, err := d.opener().Client(ctx, loaded, address)
	if err != nil {
		return nil, err
	}
	return ghapi.NewForge(client, marker, 0, arch), nil
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
