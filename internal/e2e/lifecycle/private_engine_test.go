//go:build linux

package lifecycle

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// Without a registry and without --bootstrap-base, the error names the flag.
func TestBaseThatCanNotBePulled(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 512})
	t.Setenv("DOCKER_HOST", engine.Host)
	t.Chdir(t.TempDir())
	code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "pull debian:trixie-slim") || !strings.Contains(stderr, "--bootstrap-base") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "pull debian:trixie-slim", "--bootstrap-base")
	}
}

// A container or volume of another owner that has a name of ours is never touched.
func TestForeignNamesStayUntouched(t *testing.T) {
	machine := e2e.Engine(t)
	t.Chdir(t.TempDir())
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	engine := enginetest.Start(t, enginetest.Options{From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", engine.Host)

	foreign, err := engine.API.ContainerCreate(t.Context(), &container.Config{Image: tag, Labels: map[string]string{"owner": "somebody"}}, nil, nil, nil, "runnerctl-lock-ci")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.API.VolumeCreate(t.Context(), volume.CreateOptions{Name: "ci-aaaa-data"}); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "runnerctl-lock-ci is not runnerctl's") {
		t.Errorf("up: exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "runnerctl-lock-ci is not runnerctl's")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "down", "--all"); code != 0 {
		t.Errorf("down: exit code %d, want 0: %s", code, stderr)
	}
	if _, err := engine.API.ContainerInspect(t.Context(), foreign.ID); err != nil {
		t.Error(err)
	}
	if _, err := engine.API.VolumeInspect(t.Context(), "ci-aaaa-data"); err != nil {
		t.Error(err)
	}
}

// A closed /dev/net/tun is reported before anything is made.
func TestClosedTun(t *testing.T) {
	machine := e2e.Engine(t)
	t.Chdir(t.TempDir())
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	engine := enginetest.Start(t, enginetest.Options{TunMode: 0o600, From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", engine.Host)
	// The test's own /dev/net/tun is fine, so only the runner can find the fault.
	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "chmod 0666 /dev/net/tun") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "chmod 0666 /dev/net/tun")
	}
	if left := e2e.Leftovers(t, engine.API, "ci"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
