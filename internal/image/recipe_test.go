package image

import (
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/release"
	"github.com/runnerctl/runnerctl/templates"
)

// The profiles that the settings accept are those that the recipe knows.
func TestProfilesOfSettings(t *testing.T) {
	for _, profile := range append(config.Profiles, "") {
		loaded := config.Default()
		loaded.Image.Profile = profile
		loaded.Image.Buildx.Version = "distribution"
		wanted, err := Source{Settings: loaded}.Recipe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if files, err := wanted.Context(); err != nil || !strings.Contains(string(files["profile"]), "\njq ! jq\n") {
			t.Errorf("%q: %v\n%s", profile, err, files["profile"])
		}
	}
}

// The hash of an image depends on the settings for buildx, not on the release that a build
// would find, so an existing image needs no lookup. Other settings give another image.
func TestHashIsOfTheDesiredImage(t *testing.T) {
	hashes := map[string]string{}
	for _, settings := range []config.Buildx{{Version: "latest"}, {Version: "0.31.1"}, {Version: "distribution"}, {}} {
		wanted := Recipe{image: config.Default().Image, shift: Docker.shift(config.NarrowIDs)}
		wanted.image.Buildx = settings
		hash, err := wanted.hash(nil)
		if err != nil {
			t.Fatal(err)
		}
		hashes[settings.Version] = hash
	}
	if hashes["latest"] == hashes["0.31.1"] || hashes["latest"] == hashes["distribution"] || hashes[""] != hashes["latest"] {
		t.Errorf("%v", hashes)
	}
}

func TestLateBuildx(t *testing.T) {
	given := &release.Archive{Version: "0.31.1"}
	for name, test := range map[string]struct {
		version string
		archive *release.Archive
		want    string
	}{
		"the newest":         {version: "latest", want: "latest"},
		"older settings":     {want: "latest"},
		"a version":          {version: "0.31.1", want: "0.31.1"},
		"the distribution's": {version: "distribution"},
		"an archive":         {version: "latest", archive: given},
	} {
		wanted := Recipe{image: config.Image{Buildx: config.Buildx{Version: test.version}}, buildx: test.archive}
		if got := wanted.lateBuildx(); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// The hash covers paths, modes, contents, and the ids in their order. Its algorithm must stay,
// because the tags of existing images are made of it.
func TestHashOf(t *testing.T) {
	files := dockerx.Context{"Dockerfile": []byte("FROM base\n"), "start": []byte("#!/bin/sh\n")}
	const want = "2e0b0ab977ee"
	if got := hashOf(files, "sha256:base", "latest"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, other := range map[string]string{
		"another path":    hashOf(dockerx.Context{"Dockerfile": files["Dockerfile"], "begin": files["start"]}, "sha256:base", "latest"),
		"another content": hashOf(dockerx.Context{"Dockerfile": files["Dockerfile"], "start": nil}, "sha256:base", "latest"),
		"another base":    hashOf(files, "sha256:other", "latest"),
		"another buildx":  hashOf(files, "sha256:base", ""),
		"another order":   hashOf(files, "latest", "sha256:base"),
	} {
		if other == want {
			t.Errorf("%s has the same hash", name)
		}
	}
}

// The labels record an image's hash and content. The hash itself is computed without them.
func TestLabels(t *testing.T) {
	agent := release.Archive{Version: "2.331.0", SHA256: strings.Repeat("a", 64)}
	buildx := release.Archive{Version: "0.31.1", SHA256: strings.Repeat("b", 64)}
	for name, test := range map[string]struct {
		wanted Recipe
		want   []string
	}{
		"plain":                           {Recipe{image: config.Default().Image}, []string{string(templates.Standard), release.Distribution}},
		"with agent and buildx":           {Recipe{image: config.Default().Image, agent: &agent, buildx: &buildx}, []string{string(templates.Standard), "0.31.1", "2.331.0"}},
		"an agent of a file":              {Recipe{image: config.Default().Image, agent: &release.Archive{SHA256: agent.SHA256}}, []string{string(templates.Standard), release.Distribution, "sha256:aaaaaaaaaaaa"}},
		"the profile of a desired state":  {Recipe{image: config.Image{Profile: "minimal"}}, []string{"minimal", release.Distribution}},
		"a desired state with no profile": {Recipe{}, []string{string(templates.Standard), release.Distribution}},
	} {
		t.Run(name, func(t *testing.T) {
			keys := []string{"org.opencontainers.image.title", "org.opencontainers.image.version", dockerx.LabelImage, dockerx.LabelProfile, dockerx.LabelBuildx, dockerx.LabelAgent}
			values := append([]string{"runnerctl runner", "1.2.3", "0123456789ab"}, test.want...)
			var want []templates.Label
			for i, value := range values {
				want = append(want, templates.Label{Key: keys[i], Value: value})
			}
			if got := test.wanted.labels("0123456789ab", "1.2.3"); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	wanted := Recipe{image: config.Default().Image, shift: Docker.shift(config.NarrowIDs)}
	files, err := wanted.context(wanted.labels("0123456789ab", "1.2.3"))
	if err != nil || !strings.Contains(string(files["Dockerfile"]), "0123456789ab") {
		t.Errorf("no label: %v\n%s", err, files["Dockerfile"])
	}
	if files, err = wanted.Context(); err != nil || strings.Contains(string(files["Dockerfile"]), dockerx.LabelImage) {
		t.Errorf("a label: %v\n%s", err, files["Dockerfile"])
	}
}
