// Package image decides which image a fleet's runners need, finds it on the engine, and builds
// it: recipe, hash, base images, downloads, and the rebuild when the agent ages. Its output
// goes to the Builder's writer. It may import dockerx, ghapi, templates, scripts, access,
// config, facts, fleet, hint, release and the embedded runtime, and ui only to format sizes.
package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/machine/embedded"
	"github.com/runnerctl/runnerctl/internal/release"
	"github.com/runnerctl/runnerctl/scripts"
	"github.com/runnerctl/runnerctl/templates"
)

// Repository is the name of runner images; their tags are hashes.
const Repository = "runnerctl/runner"

// Platform runs the containers of an image. It determines the ids that they have.
type Platform string

// The platforms. All but pods have the ids of a Docker host.
const (
	Docker     Platform = "docker"
	Kubernetes Platform = "kubernetes"
)

// shift returns the ids of a runner on the platform, of which it has a number on a Docker host.
func (p Platform) shift(ids int64) templates.Shift {
	if p == Kubernetes {
		return templates.PodShift()
	}
	return templates.DockerShift(ids)
}

// Recipe holds everything that determines an image's content, except the base images.
type Recipe struct {
	image  config.Image
	shift  templates.Shift  // the ids that a runner has
	cache  bool             // actions use the cache of their host
	agent  *release.Archive // nil for none
	hooks  dockerx.Context  // the operator's hooks, if there is an agent
	buildx *release.Archive // nil for a release that is looked up when the image is built, or the distribution's
}

// Found describes a recipe's image on an engine.
type Found struct {
	Tag     string // Repository alone if a base image is missing, because the hash covers its id
	ID      string // "" if the engine does not have the image
	Missing string // names the first image that is missing; "" for none
}

// Find looks for the recipe's image on the engine.
func (r Recipe) Find(ctx context.Context, engine *dockerx.Engine) (Found, error) {
	var baseIDs []string
	for _, base := range r.image.Bases() {
		baseID, err := engine.ImageID(ctx, base)
		if err != nil {
			return Found{}, err
		}
		if baseID == "" {
			return Found{Tag: Repository, Missing: "base image " + base}, nil
		}
		if err := engine.Fits(ctx, base); err != nil {
			return Found{}, err
		}
		baseIDs = append(baseIDs, baseID)
	}
	hash, err := r.hash(baseIDs)
	if err != nil {
		return Found{}, err
	}
	found := Found{Tag: Repository + ":" + hash}
	if found.ID, err = engine.ImageID(ctx, found.Tag); found.ID == "" {
		found.Missing = "runner image " + found.Tag
	}
	return found, err
}

// hash returns the hash of the recipe's image on the given base images. It is computed without
// labels, so that another version of runnerctl that sends the same files finds the image
// unchanged.
func (r Recipe) hash(baseIDs []string) (string, error) {
	files, err := r.Context()
	if err != nil {
		return "", err
	}
	return hashOf(files, append(baseIDs, r.lateBuildx())...), nil
}

// hashOf covers everything that determines the image's content: the rendered Dockerfile,
// every file sent, the ids of the base images, and the release of buildx to look up.
func hashOf(files dockerx.Context, ids ...string) string {
	sum := sha256.New()
	for _, path := range files.Paths() {
		fmt.Fprintf(sum, "%s %o %d\n", path, files.Mode(path), len(files[path]))
		sum.Write(files[path])
	}
	for _, id := range ids {
		fmt.Fprintln(sum, id)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// lateBuildx returns the release of buildx that a build looks up, for the image's hash, or ""
// if the build looks up none. The result of that lookup is not part of the hash: an existing
// image needs no lookup, and so no GitHub.
func (r Recipe) lateBuildx() string {
	version := cmp.Or(r.image.Buildx.Version, release.Latest)
	if r.buildx != nil || version == release.Distribution {
		return ""
	}
	return version
}

// profile returns the image's profile: Standard for older desired states, which name none.
func (r Recipe) profile() templates.Profile {
	return cmp.Or(templates.Profile(r.image.Profile), templates.Standard)
}

// labels returns the labels of the image with a hash, for a version of runnerctl.
func (r Recipe) labels(hash, version string) []templates.Label {
	buildx := release.Distribution
	if r.buildx != nil {
		buildx = r.buildx.Name()
	}
	labels := []templates.Label{
		{Key: "org.opencontainers.image.title", Value: "runnerctl runner"},
		{Key: "org.opencontainers.image.version", Value: version},
		{Key: dockerx.LabelImage, Value: hash},
		{Key: dockerx.LabelProfile, Value: string(r.profile())},
		{Key: dockerx.LabelBuildx, Value: buildx},
	}
	if r.agent != nil {
		labels = append(labels, templates.Label{Key: dockerx.LabelAgent, Value: r.agent.Name()})
	}
	return labels
}

// Context returns every small file that the engine is sent. The image has no labels.
func (r Recipe) Context() (dockerx.Context, error) { return r.context(nil) }

// context is Context for an image with labels.
func (r Recipe) context(labels []templates.Label) (dockerx.Context, error) {
	data := templates.Data{
		Base: r.image.Base, OuterBase: r.image.Outer, Profile: r.profile(), Packages: r.image.Packages, Sudo: r.image.Sudo,
		Fragment: r.image.Dockerfile, Shift: r.shift, Labels: labels,
	}
	if r.buildx != nil {
		data.Buildx = &templates.Buildx{SHA256: r.buildx.SHA256}
	}
	if r.agent != nil {
		data.Agent = &templates.Agent{SHA256: r.agent.SHA256, Hooks: len(r.hooks) > 0, Cache: r.cache}
	}
	dockerfile, err := templates.Render(data)
	if err != nil {
		return nil, fmt.Errorf("dockerfile: %w", err)
	}
	files := dockerx.Context{"Dockerfile": dockerfile, templates.ProfileFile: r.profile().List()}
	maps.Copy(files, r.hooks)
	err = fs.WalkDir(scripts.Image, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[path], err = scripts.Image.ReadFile(path)
		return err
	})
	// A build checks that there is one for its engine.
	for arch, program := range embedded.Programs() {
		files[embedded.Prefix+arch] = program
	}
	return files, err
}
