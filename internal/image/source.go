package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/release"
)

// Source holds everything that a recipe is made from.
type Source struct {
	Settings config.Config
	For      Platform // "": Docker
	GitHub   access.Opener
	Engine   *dockerx.Engine                 // may be nil
	Connect  func() (*dockerx.Engine, error) // opens an engine if Engine is nil and the architecture matters
}

// hookFolders are folders that an operator may put next to runnerctl.yaml. Every file in them
// runs as the user runner, in the order of the names.
var hookFolders = []string{"hooks/job-started.d", "hooks/job-completed.d"}

// Recipe returns the recipe of the image that the settings ask for. It finds out which agent
// is meant, and downloads nothing.
func (s Source) Recipe(ctx context.Context) (Recipe, error) {
	loaded := s.Settings
	wanted := Recipe{image: loaded.Image, shift: s.For.shift(loaded.Runners.IDRange), cache: cached(loaded)}
	if settings := loaded.Image.Buildx; settings.Archive != "" {
		buildx, err := release.GivenBuildx(loaded.Resolve(settings.Archive), settings.SHA256)
		if err != nil {
			return wanted, err
		}
		wanted.buildx = &buildx
	}
	settings := loaded.Image.Agent
	var archive release.Archive
	var err error
	switch {
	case settings.Archive != "":
		archive, err = release.Given(loaded.Resolve(settings.Archive), settings.SHA256)
	case NeedsGitHub(loaded):
		archive, err = s.offeredAgent(ctx)
	default:
		return wanted, nil
	}
	if err != nil {
		return wanted, err
	}
	wanted.agent = &archive
	wanted.hooks, err = hooksOf(loaded)
	return wanted, err
}

// NeedsGitHub reports whether only GitHub knows which agent the image contains.
func NeedsGitHub(settings config.Config) bool {
	return settings.Target != "" && settings.Image.Agent.Archive == ""
}

// cached reports whether actions use the cache of their host.
func cached(settings config.Config) bool { return settings.Cache.Size > 0 && settings.Cache.Actions }

// hooksOf returns the operator's hooks, by their path in the context.
func hooksOf(loaded config.Config) (dockerx.Context, error) {
	hooks := dockerx.Context{}
	for _, folder := range hookFolders {
		files, err := filepath.Glob(filepath.Join(loaded.Resolve(filepath.FromSlash(folder)), "[^.]*"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
		for _, file := range files {
			if hooks[folder+"/"+filepath.Base(file)], err = os.ReadFile(file); err != nil {
				return nil, fmt.Errorf("hook: %w", err)
			}
		}
	}
	return hooks, nil
}

// offeredAgent returns the archive that GitHub offers for the engine's architecture.
func (s Source) offeredAgent(ctx context.Context) (release.Archive, error) {
	engine := s.Engine
	if engine == nil {
		own, err := s.Connect()
		if err != nil {
			return release.Archive{}, err
		}
		defer own.Close()
		engine = own
	}
	arch, err := archOf(ctx, engine)
	if err != nil {
		return release.Archive{}, err
	}
	client, err := s.GitHub.Client(ctx, s.Settings, s.Settings.Target)
	if err != nil {
		return release.Archive{}, err
	}
	return newestAgent(ctx, client, arch, s.Settings.Image.Agent)
}

// archOf returns the architecture of the engine's machine, in the engine's words.
func archOf(ctx context.Context, engine *dockerx.Engine) (string, error) {
	facts, err := engine.Facts(ctx)
	if err != nil {
		return "", fmt.Errorf("engine: %w", err)
	}
	return facts.Arch, nil
}

// newestAgent returns the agent that GitHub offers, for settings that name no archive.
func newestAgent(ctx context.Context, client *ghapi.Client, arch string, settings config.Agent) (release.Archive, error) {
	list, err := client.Downloads(ctx)
	if err != nil {
		return release.Archive{}, &UnofferedError{err}
	}
	var offers []release.Offer
	for _, one := range list {
		offers = append(offers, release.Offer{OS: one.OS, Arch: one.Arch, Archive: release.Archive{Version: one.Version, SHA256: one.SHA256, Source: one.URL}})
	}
	return release.Choose(offers, settings.Version, arch, settings.SHA256)
}

// UnofferedError reports that GitHub did not return the agents that it offers.
type UnofferedError struct{ error }

// Unwrap returns the reason.
func (e *UnofferedError) Unwrap() error { return e.error }

// Hint adds to the reason's own hint how to build without GitHub.
func (e *UnofferedError) Hint() string {
	const own = "with image.agent.archive the image needs nothing of GitHub"
	if hint := hint.Of(e.error); hint != "" {
		return hint + "; " + own
	}
	return own
}
