package image

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/release"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// newGitHub starts a stand-in and returns a client of it.
func newGitHub(t *testing.T) *ghapi.Client {
	t.Helper()
	github, err := ghsim.Start(ghsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(github.Close)
	target, err := ghapi.ParseTarget(github.URL + "/acme/api")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ghapi.New(target, ghapi.Auth{Token: secret.New(github.ClassicToken(time.Hour, "repo"))}, ghapi.Options{CAs: github.CA()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The image data in a Desired is enough to rebuild the image, unless a part of it is on another
// machine.
func TestIngredients(t *testing.T) {
	github := newGitHub(t)
	newest := func(agent config.Agent) (release.Archive, error) {
		return newestAgent(t.Context(), github, "x86_64", agent)
	}
	image := config.Default().Image
	image.Packages, image.Dockerfile = []string{"jq"}, "RUN true"
	document, err := json.Marshal(Ingredients{Image: image, Hooks: map[string][]byte{"hooks/job-started.d/10-note": []byte("#!/bin/sh\n")}})
	if err != nil {
		t.Fatal(err)
	}
	var read Ingredients
	if err := json.Unmarshal(document, &read); err != nil {
		t.Fatal(err)
	}
	wanted, err := read.recipe(newest)
	if err != nil || wanted.agent.Version != ghsim.AgentVersion || !strings.Contains(wanted.agent.Source, "linux-x64") {
		t.Fatalf("%+v, %v", wanted, err)
	}
	files, err := wanted.Context()
	if err != nil {
		t.Fatal(err)
	}
	direct := Recipe{image: image, shift: Docker.shift(config.NarrowIDs), agent: wanted.agent, hooks: read.Hooks}
	same, err := direct.Context()
	if err != nil || hashOf(files) != hashOf(same) || !strings.Contains(string(files["Dockerfile"]), "RUN true") || len(files["hooks/job-started.d/10-note"]) == 0 {
		t.Errorf("another image: %s, %v", files["Dockerfile"], err)
	}

	read.Image.Agent = config.Agent{Version: "latest", Archive: "https://mirror.example/actions-runner-linux-x64-2.331.0.tar.gz", SHA256: strings.Repeat("a", 64)}
	if wanted, err := read.recipe(newest); err != nil || wanted.agent.Version != "2.331.0" {
		t.Errorf("%+v, %v", wanted.agent, err)
	}
	local := read
	local.Image.Agent.Archive = "agents/own.tar.gz"
	for want, kept := range map[string]Ingredients{"image.agent.archive: agents/own.tar.gz": local, "the desired state does not contain": {}} {
		var notHere *fleet.NotHereError
		if _, err := kept.recipe(newest); !errors.As(err, &notHere) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// The form that the previous commit wrote.
	before, err := json.Marshal(image)
	if err == nil {
		_, err = Builder{}.Rebuild(t.Context(), github, "x86_64", fleet.Desired{Rebuild: before})
	}
	if err == nil || !strings.Contains(err.Error(), "the desired state does not contain") {
		t.Errorf("of an older desired state: %v", err)
	}
}

// The recipe of a rebuild, or the reason why the engine's machine can't make it.
func TestRecipeOfARebuild(t *testing.T) {
	offered := release.Archive{Version: "2.335.0", SHA256: strings.Repeat("c", 64), Source: "https://github.example/agent"}
	away := errors.New("GitHub is away")
	sum := strings.Repeat("a", 64)
	base := config.Default().Image
	with := func(agent, buildx string) config.Image {
		image := base
		image.Agent.Archive, image.Agent.SHA256 = agent, sum
		image.Buildx.Archive, image.Buildx.SHA256 = buildx, sum
		return image
	}
	const agentURL, buildxURL = "https://mirror.example/actions-runner-linux-x64-2.331.0.tar.gz", "https://mirror.example/buildx-v0.31.1.linux-amd64"
	hooks := dockerx.Context{"hooks/job-started.d/10-note": []byte("#!/bin/sh\n")}
	for name, test := range map[string]struct {
		given         Ingredients
		newest        error
		agent, buildx string // versions
		ids           int64
		problem       string
	}{
		"GitHub's agent":                    {given: Ingredients{Image: base, IDs: config.WideIDs, Hooks: hooks}, agent: "2.335.0", ids: config.WideIDs},
		"an older desired state":            {given: Ingredients{Image: base}, agent: "2.335.0", ids: config.NarrowIDs},
		"GitHub does not answer":            {given: Ingredients{Image: with("", "own-buildx")}, newest: away, problem: "GitHub is away"},
		"archives of the web":               {given: Ingredients{Image: with(agentURL, buildxURL)}, newest: away, agent: "2.331.0", buildx: "0.31.1", ids: config.NarrowIDs},
		"buildx of the web":                 {given: Ingredients{Image: with("", buildxURL)}, agent: "2.335.0", buildx: "0.31.1", ids: config.NarrowIDs},
		"an agent elsewhere":                {given: Ingredients{Image: with("own.tar.gz", "")}, problem: "the image can't be rebuilt here: its agent is a file of the machine that up ran on (image.agent.archive: own.tar.gz)"},
		"a buildx elsewhere":                {given: Ingredients{Image: with("", "own-buildx")}, problem: "the image can't be rebuilt here: its buildx is a file of the machine that up ran on (image.buildx.archive: own-buildx)"},
		"a desired state that has no image": {given: Ingredients{Hooks: hooks}, problem: "the image can't be rebuilt here: the desired state does not contain the inputs of the image"},
	} {
		t.Run(name, func(t *testing.T) {
			wanted, err := test.given.recipe(func(config.Agent) (release.Archive, error) { return offered, test.newest })
			if test.problem != "" {
				var notHere *fleet.NotHereError
				if err == nil || err.Error() != test.problem || errors.As(err, &notHere) == (test.newest != nil) {
					t.Errorf("%v, want %s", err, test.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			buildx := ""
			if wanted.buildx != nil {
				buildx = wanted.buildx.Version
			}
			if wanted.agent.Version != test.agent || buildx != test.buildx || !slices.Equal(wanted.shift, Docker.shift(test.ids)) || !reflect.DeepEqual(wanted.image, test.given.Image) || !reflect.DeepEqual(wanted.hooks, test.given.Hooks) {
				t.Errorf("got %+v with agent %+v and buildx %q", wanted, wanted.agent, buildx)
			}
		})
	}
}

// Other versions of runnerctl have stored this form in their fleets' state, and read it.
func TestIngredientsAsJSON(t *testing.T) {
	full := config.Image{Base: "debian:trixie-slim", Outer: "debian:trixie-slim", Profile: "standard", Packages: []string{"jq"}, Sudo: true, Dockerfile: "RUN true",
		Agent: config.Agent{Version: "latest"}, Buildx: config.Buildx{Version: "0.31.1"}}
	for _, test := range []struct {
		given Ingredients
		want  string
	}{
		{Ingredients{Image: full, IDs: config.WideIDs, Hooks: dockerx.Context{"hooks/job-started.d/10-note": []byte("#!/bin/sh\n")}},
			`{"image":{"Base":"debian:trixie-slim","Outer":"debian:trixie-slim","Sudo":true,"Profile":"standard","Packages":["jq"],"Dockerfile":"RUN true","Agent":{"Version":"latest","Archive":"","SHA256":""},"Buildx":{"Version":"0.31.1","Archive":"","SHA256":""}},"ids":2147483648,"hooks":{"hooks/job-started.d/10-note":"IyEvYmluL3NoCg=="}}`},
		{Ingredients{Image: config.Image{Base: "debian:trixie-slim"}, Hooks: dockerx.Context{}},
			`{"image":{"Base":"debian:trixie-slim","Outer":"","Sudo":false,"Profile":"","Packages":null,"Dockerfile":"","Agent":{"Version":"","Archive":"","SHA256":""},"Buildx":{"Version":"","Archive":"","SHA256":""}}}`},
	} {
		document, err := json.Marshal(test.given)
		if err != nil || string(document) != test.want {
			t.Errorf("got %s, %v, want %s", document, err, test.want)
		}
		var read Ingredients
		if err := json.Unmarshal([]byte(test.want), &read); err != nil || !reflect.DeepEqual(read.Image, test.given.Image) || read.IDs != test.given.IDs || len(read.Hooks) != len(test.given.Hooks) {
			t.Errorf("%+v, %v", read, err)
		}
	}
}
