package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
)

func TestNeedsGitHub(t *testing.T) {
	const target = "https://github.com/acme/api"
	for name, test := range map[string]struct {
		target, archive string
		want            bool
	}{
		"no agent":                  {},
		"a given agent":             {archive: "agent.tar.gz"},
		"a target":                  {target: target, want: true},
		"a target, the agent given": {target: target, archive: "agent.tar.gz"},
	} {
		settings := config.Default()
		settings.Target, settings.Image.Agent.Archive = test.target, test.archive
		if got := NeedsGitHub(settings); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An engine is opened only if its architecture matters.
func TestConnectsForAnOfferedAgentOnly(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "agent.tar.gz")
	if err := os.WriteFile(agent, []byte("agent"), 0o600); err != nil {
		t.Fatal(err)
	}
	away := errors.New("no engine")
	for name, test := range map[string]struct {
		target, archive string
		hasAgent        bool
		want            error
	}{
		"no agent":       {},
		"a given agent":  {target: "https://github.com/acme/api", archive: agent, hasAgent: true},
		"GitHub's agent": {target: "https://github.com/acme/api", want: away},
	} {
		settings := config.Default()
		settings.Target, settings.Image.Agent.Archive = test.target, test.archive
		wanted, err := Source{Settings: settings, Connect: func() (*dockerx.Engine, error) { return nil, away }}.Recipe(t.Context())
		if !errors.Is(err, test.want) || (wanted.agent != nil) != test.hasAgent {
			t.Errorf("%s: %+v, %v", name, wanted.agent, err)
		}
	}
}

func TestHintOfUnofferedError(t *testing.T) {
	for want, reason := range map[string]error{
		"with image.agent.archive the image needs nothing of GitHub":                 errors.New("GitHub answered 500"),
		"log in with gh; with image.agent.archive the image needs nothing of GitHub": hint.Add(errors.New("GitHub answered 401"), "log in with gh"),
	} {
		err := &UnofferedError{reason}
		if err.Error() != reason.Error() || !errors.Is(err, reason) || err.Hint() != want {
			t.Errorf("%v: %q", err, err.Hint())
		}
	}
}
