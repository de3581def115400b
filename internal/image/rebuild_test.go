package image

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

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

// The image data in a Wish is enough to rebuild the image, unless a part of it is on another
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
	direct := Recipe{image: image, ids: config.NarrowIDs, agent: wanted.agent, hooks: read.Hooks}
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
	for want, kept := range map[string]Ingredients{"image.agent.archive: agents/own.tar.gz": local, "the wish does not tell": {}} {
		var notHere *fleet.NotHereError
		if _, err := kept.recipe(newest); !errors.As(err, &notHere) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// The form that the previous commit wrote.
	before, err := json.Marshal(image)
	if err == nil {
		_, err = Builder{}.Rebuild(t.Context(), github, "x86_64", fleet.Wish{Rebuild: before})
	}
	if err == nil || !strings.Contains(err.Error(), "the wish does not tell") {
		t.Errorf("of an older wish: %v", err)
	}
}
