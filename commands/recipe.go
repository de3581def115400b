package commands

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/release"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/scripts"
	"github.com/runnerctl/runnerctl/templates"
)

// recipe holds everything that determines an image's content, except the base images.
type recipe struct {
	image  config.Image
	ids    int64            // number of ids that a runner has
	agent  *release.Archive // nil for none
	hooks  dockerx.Context  // the operator's hooks, if there is an agent
	buildx *release.Archive // nil for a release that is looked up when the image is built, or the distribution's
}

// hookFolders are folders that an operator may put next to runnerctl.yaml. Every file in them
// runs as the user runner, in the order of the names.
var hookFolders = []string{"hooks/job-started.d", "hooks/job-completed.d"}

// recipeOf finds out which agent is meant. It downloads nothing. engine supplies the
// architecture; if it is nil, an engine is asked only if the architecture matters.
func recipeOf(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config) (recipe, error) {
	wanted := recipe{image: loaded.Image, ids: loaded.Runners.IDRange}
	if settings := loaded.Image.Buildx; settings.Archive != "" {
		buildx, err := release.GivenBuildx(loaded.Beside(settings.Archive), settings.SHA256)
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
		archive, err = release.Given(loaded.Beside(settings.Archive), settings.SHA256)
	case loaded.Target != "":
		archive, err = offeredAgent(ctx, d, engine, loaded)
	default:
		return wanted, nil
	}
	if err != nil {
		return wanted, err
	}
	wanted.agent = &archive
	wanted.hooks, err = hooksBeside(loaded)
	return wanted, err
}

// hooksBeside returns the operator's hooks, by their path in the context.
func hooksBeside(loaded config.Config) (dockerx.Context, error) {
	hooks := dockerx.Context{}
	for _, folder := range hookFolders {
		files, err := filepath.Glob(filepath.Join(loaded.Beside(filepath.FromSlash(folder)), "[^.]*"))
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
func offeredAgent(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config) (release.Archive, error) {
	if engine == nil {
		own, _, err := connect(d)
		if err != nil {
			return release.Archive{}, err
		}
		defer own.Close()
		engine = own
	}
	facts, err := engine.Facts(ctx)
	if err != nil {
		return release.Archive{}, fmt.Errorf("engine: %w", err)
	}
	client, err := d.opener().Client(ctx, loaded, loaded.Target)
	if err != nil {
		return release.Archive{}, err
	}
	return newestAgent(ctx, client, facts.Arch, loaded.Image.Agent)
}

// newestAgent returns the agent that GitHub offers, for settings that name no archive.
func newestAgent(ctx context.Context, client *ghapi.Client, arch string, settings config.Agent) (release.Archive, error) {
	list, err := client.Downloads(ctx)
	if err != nil {
		return release.Archive{}, &unofferedError{err}
	}
	var offers []release.Offer
	for _, one := range list {
		offers = append(offers, release.Offer{OS: one.OS, Arch: one.Arch, Archive: release.Archive{Version: one.Version, SHA256: one.SHA256, Source: one.URL}})
	}
	return release.Choose(offers, settings.Version, arch, settings.SHA256)
}

// unofferedError reports that GitHub did not return the agents that it offers.
type unofferedError struct{ error }

// Unwrap returns the reason.
func (e *unofferedError) Unwrap() error { return e.error }

// Hint adds to the reason's own hint how to build without GitHub.
func (e *unofferedError) Hint() string {
	const own = "with image.agent.archive the image needs nothing of GitHub"
	if hint := hint.Of(e.error); hint != "" {
		return hint + "; " + own
	}
	return own
}

// find looks for the recipe's image on the engine. It returns the tag, and the id if the
// engine has the image. If a base image is missing, there is no tag, and find returns that
// base.
func (r recipe) find(ctx context.Context, engine *dockerx.Engine) (tag, id, missing string, err error) {
	var baseIDs []string
	for _, base := range r.image.Bases() {
		baseID, err := engine.ImageID(ctx, base)
		if err != nil {
			return "", "", "", err
		}
		if baseID == "" {
			return "", "", base, nil
		}
		if err := engine.Fits(ctx, base); err != nil {
			return "", "", "", err
		}
		baseIDs = append(baseIDs, baseID)
	}
	files, err := r.context("")
	if err != nil {
		return "", "", "", err
	}
	tag = repository + ":" + imageHash(files, append(baseIDs, r.lateBuildx())...)
	id, err = engine.ImageID(ctx, tag)
	return tag, id, "", err
}

// lateBuildx returns the release of buildx that a build looks up, for the image's hash, or ""
// if the build looks up none. The result of that lookup is not part of the hash: an existing
// image needs no lookup, and so no GitHub.
func (r recipe) lateBuildx() string {
	version := cmp.Or(r.image.Buildx.Version, release.Latest)
	if r.buildx != nil || version == release.Distribution {
		return ""
	}
	return version
}

// profile returns the image's profile: Standard for older wishes, which name none.
func (r recipe) profile() templates.Profile {
	return cmp.Or(templates.Profile(r.image.Profile), templates.Standard)
}

// context returns every small file that the engine is sent. With a hash the image is labelled.
// The hash itself is computed without labels, so that another version of runnerctl that sends
// the same files finds the image unchanged.
func (r recipe) context(hash string) (dockerx.Context, error) {
	data := templates.Data{
		Base: r.image.Base, OuterBase: r.image.Outer, Profile: r.profile(), Packages: r.image.Packages, Sudo: r.image.Sudo,
		Fragment: r.image.Dockerfile, FirstID: templates.FirstID, IDs: r.ids,
	}
	if hash != "" {
		data.Labels = []templates.Label{
			{Key: "org.opencontainers.image.title", Value: "runnerctl runner"},
			{Key: "org.opencontainers.image.version", Value: Version},
			{Key: dockerx.LabelImage, Value: hash},
			{Key: dockerx.LabelProfile, Value: string(r.profile())},
			{Key: dockerx.LabelBuildx, Value: release.Distribution},
		}
	}
	if r.buildx != nil {
		data.Buildx = &templates.Buildx{SHA256: r.buildx.SHA256}
		if hash != "" {
			data.Labels[len(data.Labels)-1].Value = r.buildx.Name()
		}
	}
	if r.agent != nil {
		data.Agent = &templates.Agent{SHA256: r.agent.SHA256, Hooks: len(r.hooks) > 0}
		if hash != "" {
			data.Labels = append(data.Labels, templates.Label{Key: dockerx.LabelAgent, Value: r.agent.Name()})
		}
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
	return files, err
}

// completed returns the recipe with everything that is looked up when it is built, and every
// large file that the engine is sent, by its path in the context. Files are downloaded now if
// necessary.
func (r recipe) completed(ctx context.Context, d deps, loaded config.Config, arch string) (recipe, map[string]string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return r, nil, fmt.Errorf("agent archive: %w", err)
	}
	options, err := d.opener().Reach(loaded)
	if err != nil {
		return r, nil, err
	}
	return r.fetch(ctx, d, options, filepath.Join(cache, "runnerctl", "agent"), arch)
}

// fetch is completed with the given way to GitHub and the given cache folder.
func (r recipe) fetch(ctx context.Context, d deps, options ghapi.Options, cache, arch string) (recipe, map[string]string, error) {
	transport, err := options.Transport()
	if err != nil {
		return r, nil, err
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	large := map[string]string{}
	if r.agent != nil {
		if large[templates.AgentArchive], err = fetched(ctx, d, client, *r.agent, "agent", cache); err != nil {
			return r, nil, err
		}
	}
	if r.buildx != nil {
		large[templates.BuildxFile], err = fetched(ctx, d, client, *r.buildx, "buildx", cache)
		return r, large, err
	}
	if version := r.lateBuildx(); version != "" {
		buildx, err := release.Buildx(ctx, client, buildxAPI, version, arch)
		path := ""
		if err == nil {
			path, err = fetched(ctx, d, client, buildx, "buildx", cache)
		}
		if ctx.Err() != nil {
			return r, nil, ctx.Err()
		}
		if err == nil {
			r.buildx, large[templates.BuildxFile] = &buildx, path
		} else {
			fmt.Fprintf(d.streams.Err, "buildx the distribution's, since GitHub's release can't be had: %v\n       GitHub's cache service needs %s or newer; image.buildx.archive may name a file\n", err, release.FirstBuildx)
		}
	}
	return r, large, nil
}

// buildxAPI serves the releases of buildx, even if the target is on another GitHub.
const buildxAPI = "https://api.github.com"

func fetched(ctx context.Context, d deps, client *http.Client, archive release.Archive, name, cache string) (string, error) {
	show := newDownload(d, fmt.Sprintf("%-6s downloading %s", name, archive.Name()))
	path, err := archive.Fetch(ctx, client, cache, show.tell)
	show.end()
	if err != nil && ctx.Err() == nil && hint.Of(err) == "" {
		err = hint.Add(err, "where this machine can't reach it, image."+name+".archive may name a file")
	}
	return path, err
}

// download shows the progress of a download: redrawn on a terminal, otherwise as one line.
type download struct {
	d     deps
	title string
	next  time.Time
	begun bool
}

func newDownload(d deps, title string) *download { return &download{d: d, title: title} }

func (o *download) tell(done, total int64) {
	if time.Now().Before(o.next) {
		return
	}
	o.next = time.Now().Add(200 * time.Millisecond)
	size := ""
	if total > 0 {
		size = " of " + ui.Bytes(total)
	}
	switch {
	case o.d.redraws():
		fmt.Fprintf(o.d.streams.Err, "\r%s  %s%s\x1b[K", o.title, ui.Bytes(done), size)
	case !o.begun:
		fmt.Fprintf(o.d.streams.Err, "%s %s\n", o.title, size)
	}
	o.begun = true
}

func (o *download) end() {
	if o.begun && o.d.redraws() {
		fmt.Fprintln(o.d.streams.Err)
	}
}
