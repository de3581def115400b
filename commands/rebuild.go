package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/release"
)

// ingredients is the part of a wish from which a supervisor on the engine can rebuild the
// image. Nothing in it is secret: all of it goes into the image.
type ingredients struct {
	Image config.Image    `json:"image"`
	IDs   int64           `json:"ids,omitempty"`   // 0 in older wishes means config.NarrowIDs
	Hooks dockerx.Context `json:"hooks,omitempty"` // the operator's hooks
}

// recipe returns the recipe with the agent that GitHub offers now.
func (s *supervisor) recipe(ctx context.Context, of ingredients) (recipe, error) {
	wanted := recipe{image: of.Image, ids: cmp.Or(of.IDs, config.NarrowIDs), hooks: of.Hooks}
	var archive release.Archive
	var err error
	switch agent := of.Image.Agent; {
	case of.Image.Base == "":
		return wanted, &fleet.NotHereError{Why: "the wish does not tell what it is made from"}
	case agent.Archive == "":
		archive, err = newestAgent(ctx, s.client, s.arch, agent)
	case release.Remote(agent.Archive):
		archive, err = release.Given(agent.Archive, agent.SHA256)
	default:
		return wanted, &fleet.NotHereError{Why: "its agent is a file of the machine that up ran on (image.agent.archive: " + agent.Archive + ")"}
	}
	wanted.agent = &archive
	if buildx := of.Image.Buildx; err == nil && buildx.Archive != "" {
		if !release.Remote(buildx.Archive) {
			return wanted, &fleet.NotHereError{Why: "its buildx is a file of the machine that up ran on (image.buildx.archive: " + buildx.Archive + ")"}
		}
		given, err := release.GivenBuildx(buildx.Archive, buildx.SHA256)
		wanted.buildx = &given
		return wanted, err
	}
	return wanted, err
}

// rebuildHere rebuilds a wish's image from the ingredients in the wish, with nothing but the
// engine and GitHub.
func (s *supervisor) rebuildHere(ctx context.Context, d deps, wish fleet.Wish) (fleet.Wish, error) {
	var kept ingredients
	if len(wish.Rebuild) > 0 {
		if err := json.Unmarshal(wish.Rebuild, &kept); err != nil {
			return wish, fmt.Errorf("what the image is made from: %w", err)
		}
	}
	wanted, err := s.recipe(ctx, kept)
	if err != nil {
		return wish, err
	}
	defer os.RemoveAll(dockerx.ScratchFolder)
	tag, id, _, err := wanted.ensure(ctx, d, s.engine, buildOptions{progress: "quiet"}, func(arch string) (recipe, map[string]string, error) {
		return wanted.fetch(ctx, d, s.reach, dockerx.ScratchFolder, arch)
	})
	return s.madeOf(ctx, wish, tag, id, err)
}

// madeOf returns the wish for a rebuilt image.
func (s *supervisor) madeOf(ctx context.Context, wish fleet.Wish, tag, id string, err error) (fleet.Wish, error) {
	if err != nil {
		return wish, err
	}
	wish.Spec.Image, wish.Spec.ImageID = tag, id
	wish.Agent, err = agentIn(ctx, s.engine, tag)
	return wish, err
}

// silent discards output that does not belong in a supervisor's log.
func (d deps) silent() deps {
	d.streams.Err, d.streams.ErrTTY = io.Discard, false
	return d
}
