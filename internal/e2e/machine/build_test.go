//go:build linux

package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// Of GitHub's offers, the archive for the engine's architecture is used. The Dockerfile
// contains its hash, and so the image's hash depends on it.
func TestOfferedAgent(t *testing.T) {
	e2e.Engine(t)
	t.Chdir(t.TempDir())
	github := e2e.StartGitHub(t, ghsim.Options{})
	e2e.WriteSettings(t, github, "acme/api")
	latest := e2e.Must(t, "build", "--print")
	if strings.Count(latest, "sha256sum --check") != 1 || !strings.Contains(latest, "rootfs-check packages agent") {
		t.Errorf("no agent in\n%s", latest)
	}
	e2e.WriteSettings(t, github, "acme/api", "image: {agent: {version: "+ghsim.AgentVersion+"}}")
	if pinned := e2e.Must(t, "build", "--print"); pinned != latest {
		t.Errorf("%s is not the latest:\n%s", ghsim.AgentVersion, pinned)
	}
	e2e.WriteSettings(t, github, "acme/api", "image: {agent: {version: 2.300.0, sha256: "+strings.Repeat("0a", 32)+"}}")
	if older := e2e.Must(t, "build", "--print"); !strings.Contains(older, "echo '"+strings.Repeat("0a", 32)+"  /tmp/agent.tar'") {
		t.Errorf("another agent:\n%s", older)
	}
	e2e.WriteSettings(t, github, "acme/api", "image: {agent: {version: 2.300.0}}")
	if code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--print"); code != commands.ExitFailure || !strings.Contains(stderr, "set image.agent.sha256 to the value on github.com/actions/runner/releases/tag/v2.300.0") {
		t.Errorf("code %d: %s", code, stderr)
	}
	e2e.WriteSettings(t, github, "acme/api")
	t.Setenv("RUNNERCTL_TOKEN", "ghp_wrong")
	if code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--print"); code != commands.ExitAuth || !strings.Contains(stderr, "with image.agent.archive the image needs nothing of GitHub") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "prune", "--dry-run"); code != 0 || !strings.Contains(stderr, "the newest runner image is kept") {
		t.Errorf("prune: code %d: %s", code, stderr)
	}
}

// An archive from a URL, on a host with a certificate authority of its own, is checked before
// it enters the build context.
func TestAgentArchiveByURL(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	archive := e2e.ReadFile(e2e.AgentArchive(t))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, archive) }))
	defer server.Close()
	e2e.WriteFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	sum := sha256.Sum256([]byte(archive))
	settings := func(hash string) {
		e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("image: {agent: {archive: %s/a.tar.gz, sha256: %s}}\ngithub: {caFile: ca.pem}", server.URL, hash))
	}
	settings(strings.Repeat("0a", 32))
	if code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--out", "refused"); code != commands.ExitFailure || !strings.Contains(stderr, "its SHA-256 is "+hex.EncodeToString(sum[:])+", expected 0a0a") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if _, err := os.Stat("refused"); err == nil {
		t.Error("a context was written")
	}
	settings(hex.EncodeToString(sum[:]))
	e2e.Must(t, "build", "--out", "context")
	if e2e.ReadFile("context/agent.tar") != archive {
		t.Error("another archive in the context")
	}
}

// Hooks are next to runnerctl.yaml, regardless of the working folder.
func TestHooksBesideTheSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	archive := e2e.AgentArchive(t)
	if err := os.MkdirAll("fleet/hooks/job-started.d", 0o755); err != nil {
		t.Fatal(err)
	}
	e2e.WriteFile(t, "fleet/hooks/job-started.d/10-say", "#!/bin/sh\n")
	e2e.WriteFile(t, "fleet/hooks/job-started.d/.swp", "")
	e2e.WriteFile(t, "fleet/runnerctl.yaml", "image: {agent: {archive: "+archive+"}}")
	e2e.Must(t, "build", "--config", "fleet/runnerctl.yaml", "--out", "context")
	entries, err := os.ReadDir("context/hooks/job-started.d")
	if err != nil || len(entries) != 1 || entries[0].Name() != "10-say" || !strings.Contains(e2e.ReadFile("context/Dockerfile"), "COPY image/hooks hooks /usr/lib/runnerctl/hooks/") {
		t.Errorf("%v %v\n%s", entries, err, e2e.ReadFile("context/Dockerfile"))
	}
}
