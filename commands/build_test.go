//go:build linux

package commands

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

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// Of GitHub's offers, the archive for the engine's architecture is used. The Dockerfile
// contains its hash, and so the image's hash depends on it.
func TestOfferedAgent(t *testing.T) {
	realEngine(t)
	t.Chdir(t.TempDir())
	github := startGitHub(t, ghsim.Options{})
	writeSettings(t, github, "acme/api")
	latest := must(t, "build", "--print")
	if strings.Count(latest, "sha256sum --check") != 1 || !strings.Contains(latest, "world-check packages agent") {
		t.Errorf("no agent in\n%s", latest)
	}
	writeSettings(t, github, "acme/api", "image: {agent: {version: "+ghsim.AgentVersion+"}}")
	if pinned := must(t, "build", "--print"); pinned != latest {
		t.Errorf("%s is not the latest:\n%s", ghsim.AgentVersion, pinned)
	}
	writeSettings(t, github, "acme/api", "image: {agent: {version: 2.300.0, sha256: "+strings.Repeat("0a", 32)+"}}")
	if older := must(t, "build", "--print"); !strings.Contains(older, "echo '"+strings.Repeat("0a", 32)+"  /tmp/agent.tar'") {
		t.Errorf("another agent:\n%s", older)
	}
	writeSettings(t, github, "acme/api", "image: {agent: {version: 2.300.0}}")
	if code, _, stderr := runnerctl(t.Context(), "build", "--print"); code != exitFailure || !strings.Contains(stderr, "set image.agent.sha256 to the value on github.com/actions/runner/releases/tag/v2.300.0") {
		t.Errorf("code %d: %s", code, stderr)
	}
	writeSettings(t, github, "acme/api")
	t.Setenv("RUNNERCTL_TOKEN", "ghp_wrong")
	if code, _, stderr := runnerctl(t.Context(), "build", "--print"); code != exitAuth || !strings.Contains(stderr, "with image.agent.archive the image needs nothing of GitHub") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if code, _, stderr := runnerctl(t.Context(), "prune", "--dry-run"); code != 0 || !strings.Contains(stderr, "the newest runner image is kept") {
		t.Errorf("prune: code %d: %s", code, stderr)
	}
}

// An archive from a URL, on a host with a certificate authority of its own, is checked before
// it enters the build context.
func TestAgentArchiveByURL(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	archive := readFile(agentArchive(t))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, archive) }))
	defer server.Close()
	write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	sum := sha256.Sum256([]byte(archive))
	settings := func(hash string) {
		write(t, "runnerctl.yaml", fmt.Sprintf("image: {agent: {archive: %s/a.tar.gz, sha256: %s}}\ngithub: {caFile: ca.pem}", server.URL, hash))
	}
	settings(strings.Repeat("0a", 32))
	if code, _, stderr := runnerctl(t.Context(), "build", "--out", "refused"); code != exitFailure || !strings.Contains(stderr, "its SHA-256 is "+hex.EncodeToString(sum[:])+", expected 0a0a") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if _, err := os.Stat("refused"); err == nil {
		t.Error("a context was written")
	}
	settings(hex.EncodeToString(sum[:]))
	must(t, "build", "--out", "context")
	if readFile("context/agent.tar") != archive {
		t.Error("another archive in the context")
	}
}

// Hooks are next to runnerctl.yaml, regardless of the working folder.
func TestHooksBesideTheSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	archive := agentArchive(t)
	if err := os.MkdirAll("fleet/hooks/job-started.d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "fleet/hooks/job-started.d/10-say", "#!/bin/sh\n")
	write(t, "fleet/hooks/job-started.d/.swp", "")
	write(t, "fleet/runnerctl.yaml", "image: {agent: {archive: "+archive+"}}")
	must(t, "build", "--config", "fleet/runnerctl.yaml", "--out", "context")
	entries, err := os.ReadDir("context/hooks/job-started.d")
	if err != nil || len(entries) != 1 || entries[0].Name() != "10-say" || !strings.Contains(readFile("context/Dockerfile"), "COPY image/hooks hooks /usr/lib/runnerctl/hooks/") {
		t.Errorf("%v %v\n%s", entries, err, readFile("context/Dockerfile"))
	}
}
