package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/release"
)

// Ingredients are the part of a desired state from which a supervisor on the engine can rebuild the
// image. Nothing in them is secret: all of it goes into the image.
type Ingredients struct {
	Image config.Image    `json:"image"`
	IDs   int64           `json:"ids,omitempty"`   // 0 in older documents means config.NarrowIDs
	Hooks dockerx.Context `json:"hooks,omitempty"` // the operator's hooks
	Cache bool            `json:"cache,omitempty"` // actions use the cache of their host
}

// IngredientsOf returns the ingredients of the image that the settings ask for.
func IngredientsOf(settings config.Config) (Ingredients, error) {
	hooks, err := hooksOf(settings)
	return Ingredients{Image: settings.Image, IDs: settings.Runners.IDRange, Hooks: hooks, Cache: cached(settings)}, err
}

// recipe returns the recipe of a rebuild. newest returns the agent that GitHub offers now; it
// is called only if the ingredients name no archive.
func (i Ingredients) recipe(newest func(config.Agent) (release.Archive, error)) (Recipe, error) {
	wanted := Recipe{image: i.Image, shift: Docker.shift(cmp.Or(i.IDs, config.NarrowIDs)), hooks: i.Hooks, cache: i.Cache}
	var archive release.Archive
	var err error
	switch agent := i.Image.Agent; {
	case i.Image.Base == "":
		return wanted, &fleet.NotHereError{Why: "the desired state does not contain the inputs of the image"}
	case agent.Archive == "":
		archive, err = newest(agent)
	case release.Remote(agent.Archive):
		archive, err = release.Given(agent.Archive, agent.SHA256)
	default:
		return wanted, &fleet.NotHereError{Why: "its agent is a file of the machine that up ran on (image.agent.archive: " + agent.Archive + ")"}
	}
	wanted.agent = &archive
	if buildx := i.Image.Buildx; err == nil && buildx.Archive != "" {
		if !release.Remote(buildx.Archive) {
			return wanted, &fleet.NotHereError{Why: "its buildx is a file of the machine that up ran on (image.buildx.archive: " + buildx.Archive + ")"}
		}
		given, err := release.GivenBuildx(buildx.Archive, buildx.SHA256)
		wanted.buildx = &given
		return wanted, err
	}
	return wanted, err
}

// Rebuild rebuilds the image of a desired state from the ingredients in it, with nothing but the
// engine and GitHub. arch is the architecture of the engine's machine.
func (b Builder) Rebuild(ctx context.Context, github *ghapi.Client, arch string, desired fleet.Desired) (fleet.Desired, error) {
	var kept Ingredients
	if len(desired.Rebuild) > 0 {
		if err := json.Unmarshal(desired.Rebuild, &kept); err != nil {
			return desired, fmt.Errorf("inputs of the image: %w", err)
		}
	}
	wanted, err := kept.recipe(func(agent config.Agent) (release.Archive, error) {
		return newestAgent(ctx, github, arch, agent)
	})
	if err != nil {
		return desired, err
	}
	return b.Renew(ctx, wanted, desired)
}

// Renew makes sure that the recipe's image exists, and returns the desired for that image.
func (b Builder) Renew(ctx context.Context, wanted Recipe, desired fleet.Desired) (fleet.Desired, error) {
	tag, id, _, err := b.Ensure(ctx, wanted)
	if err != nil {
		return desired, err
	}
	if used := desired.Spec.Cache; used != nil && desired.Spec.ImageID != id {
		without := *used
		without.Preload = "" // its volume is of the other image; the next up makes one
		desired.Spec.Cache = &without
	}
	desired.Spec.Image, desired.Spec.ImageID = tag, id
	desired.Agent, err = AgentIn(ctx, b.Engine, tag)
	return desired, err
}

// AgentIn returns the version of the agent in an image, or "" if the agent is not GitHub's
// own.
func AgentIn(ctx context.Context, engine *dockerx.Engine, tag string) (string, error) {
	version, err := engine.ImageAgent(ctx, tag)
	if err != nil || !facts.IsVersion(version) {
		return "", err
	}
	return version, nil
}
