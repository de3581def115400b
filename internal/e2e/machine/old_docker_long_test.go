//go:build linux && long

package machine

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

func drain(t *testing.T, stream io.ReadCloser) {
	t.Helper()
	defer func() { _ = stream.Close() }()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Fatal(err)
	}
}

// Debian 12's own packages have Docker 20.10 and no compose v2.
func TestBaseWithOldDocker(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	const base = "runnerctl-test/bookworm:base"
	make := exec.Command("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", "base.tar")
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file, err := os.Open("base.tar")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	stream, err := api.ImageImport(t.Context(), image.ImportSource{Source: file, SourceName: "-"}, base, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	drain(t, stream)
	t.Cleanup(func() { e2e.RemoveImage(t, api, base) })
	if err := os.WriteFile(config.DefaultFile, []byte("image:\n  base: "+base+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "Debian GNU/Linux 12 (bookworm): Docker 20 is too old, 24 or newer is needed") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "Debian GNU/Linux 12 (bookworm): Docker 20 is too old, 24 or newer is needed")
	}
}
