//go:build linux && long

package machine

import (
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// Debian 12's own packages have Docker 20.10 and no compose v2.
func TestBaseWithOldDocker(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	base := e2e.MakeBase(t, api, "bookworm")
	if err := os.WriteFile(config.DefaultFile, []byte("image:\n  base: "+base+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "Debian GNU/Linux 12 (bookworm): Docker 20 is too old, 24 or newer is needed") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "Debian GNU/Linux 12 (bookworm): Docker 20 is too old, 24 or newer is needed")
	}
}
