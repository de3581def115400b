//go:build linux

package cli

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestSim(t *testing.T) {
	jobs := filepath.Join(t.TempDir(), "jobs.yaml")
	if err := os.WriteFile(jobs, []byte("jobs: {build: {runs-on: linux, steps: [{run: make}]}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	code, stdout, stderr := e2e.Runnerctl(ctx, "sim", "--jobs", jobs, "--repository", "acme/shop")
	if code != 0 || !regexp.MustCompile(`^target  https://127\.0\.0\.1:\d+/acme/shop\nca      \S+/ca\.pem\ntoken   \S+/token\n  build: queued\n$`).MatchString(stdout) || !strings.Contains(stderr, "0 registrations left") {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nwant the target, the CA, the token and a queued job; stderr:\n%s\nwant no registrations left", code, stdout, stderr)
	}
	folder := filepath.Dir(regexp.MustCompile(`token   (\S+)`).FindStringSubmatch(stdout)[1])
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v, want it removed", folder, err)
	}
	for step, want := range map[string]string{
		"{run: make, shel: sh}": "field shel not found",
		"{uses: checkout}":      "uses: checkout is neither ./FOLDER nor OWNER/REPO@REF",
	} {
		if err := os.WriteFile(jobs, []byte("jobs: {build: {runs-on: linux, steps: ["+step+"]}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a file that is accepted is served until then
		defer cancel()
		if code, _, stderr := e2e.Runnerctl(ctx, "sim", "--jobs", jobs); code != commands.ExitFailure || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, want %q: %s", step, code, want, stderr)
		}
	}
}
