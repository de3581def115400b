package commands

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// The image data in a Wish is enough to rebuild the image, unless a part of it is on another
// machine.
func TestIngredients(t *testing.T) {
	t.Chdir(t.TempDir())
	newGitHub(t, ghsim.Options{}, "acme/api")
	s := &supervisor{client: githubOf(t), arch: "x86_64"}
	image := config.Default().Image
	image.Packages, image.Dockerfile = []string{"jq"}, "RUN true"
	document, err := json.Marshal(ingredients{Image: image, Hooks: map[string][]byte{"hooks/job-started.d/10-note": []byte("#!/bin/sh\n")}})
	if err != nil {
		t.Fatal(err)
	}
	var read ingredients
	if err := json.Unmarshal(document, &read); err != nil {
		t.Fatal(err)
	}
	wanted, err := s.recipe(t.Context(), read)
	if err != nil || wanted.agent.Version != ghsim.AgentVersion || !strings.Contains(wanted.agent.Source, "linux-x64") {
		t.Fatalf("%+v, %v", wanted, err)
	}
	files, err := wanted.context("")
	if err != nil {
		t.Fatal(err)
	}
	direct := recipe{image: image, ids: config.NarrowIDs, agent: wanted.agent, hooks: read.Hooks}
	same, err := direct.context("")
	if err != nil || imageHash(files) != imageHash(same) || !strings.Contains(string(files["Dockerfile"]), "RUN true") || len(files["hooks/job-started.d/10-note"]) == 0 {
		t.Errorf("another image: %s, %v", files["Dockerfile"], err)
	}

	read.Image.Agent = config.Agent{Version: "latest", Archive: "https://mirror.example/actions-runner-linux-x64-2.331.0.tar.gz", SHA256: strings.Repeat("a", 64)}
	if wanted, err := s.recipe(t.Context(), read); err != nil || wanted.agent.Version != "2.331.0" {
		t.Errorf("%+v, %v", wanted.agent, err)
	}
	local := read
	local.Image.Agent.Archive = "agents/own.tar.gz"
	for want, kept := range map[string]ingredients{"image.agent.archive: agents/own.tar.gz": local, "the wish does not tell": {}} {
		var notHere *fleet.NotHereError
		if _, err := s.recipe(t.Context(), kept); !errors.As(err, &notHere) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// The form that the previous commit wrote.
	before, err := json.Marshal(image)
	if err == nil {
		_, err = s.rebuildHere(t.Context(), deps{}, fleet.Wish{Rebuild: before})
	}
	if err == nil || !strings.Contains(err.Error(), "the wish does not tell") {
		t.Errorf("of an older wish: %v", err)
	}
}
