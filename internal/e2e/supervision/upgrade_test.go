//go:build linux && long

package supervision

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// binaryBefore builds runnerctl at the parent of the checked-out commit.
func binaryBefore(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	in := func(dir, name string, args ...string) {
		t.Helper()
		command := exec.Command(name, args...)
		command.Dir, command.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("the commit before can't be built; a clone of one commit does not have it (git fetch --deepen 1): %v: %s", err, out)
		}
	}
	in(e2e.Repository, "git", "archive", "--output", filepath.Join(folder, "source.tar"), "HEAD^")
	in(folder, "tar", "-xf", "source.tar")
	if _, err := os.Stat(filepath.Join(folder, "internal/machine/program")); err == nil { // older commits have none
		in(folder, "make", "machine")
	}
	program := filepath.Join(folder, "runnerctl-before")
	in(folder, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X github.com/runnerctl/runnerctl/commands.Version=before", "-o", program, ".")
	return program
}

// This runnerctl takes over a fleet and its supervisor that the previous commit made. It
// keeps the runners, except those whose spec has changed since, and rolls the fleet to
// another desired state.
func TestUpgradeFromTheCommitBefore(t *testing.T) {
	const count = 2
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	agent := agenttest.Archive(t)
	settings := func(memory string) {
		e2e.WriteSettings(t, github, "acme/api", "runners: {count: 2, spares: 1, memory: "+memory+"}", "image: {agent: {archive: "+agent+"}}")
	}
	settings("1GiB")
	e2e.Supervised(t)
	before := binaryBefore(t)
	command := exec.Command(before, e2e.Up(name)...)
	command.Env = append(os.Environ(), "RUNNERCTL_SUPERVISOR_BINARY="+before)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("up of the commit before: %v: %s", err, out)
	}
	first := e2e.SupervisorOf(t, api, name)
	e2e.AwaitOnline(t, github, count)
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	state := engine.State(name)
	e2e.Eventually(t, 3*time.Minute, "a spare waits", func() bool { return waiting(t, engine, name) == 1 })
	old, err := engine.Known(t.Context(), name)
	if err != nil || len(old) != count+1 {
		t.Fatalf("got %+v, %v, want %d runners", old, err, count+1)
	}
	names := e2e.Registered(github)

	e2e.Must(t, e2e.Up(name)...)
	second := e2e.SupervisorOf(t, api, name)
	if second.ContainerID == first.ContainerID || second.Image == first.Image || !second.Running {
		t.Errorf("before %+v, now %+v, want another container and image, running", first, second)
	}
	e2e.Eventually(t, 30*time.Second, "the new supervisor tells that it began", func() bool {
		return strings.Count(e2e.Must(t, "events", "--fleet", name), "  began: ") == 2
	})
	desired, err := state.Desired(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if desired.Spec.ImageID != old[0].ImageID {
			e2e.RemoveImage(t, api, old[0].Image)
		}
	})
	same := old[0].SpecHash == desired.Spec.Hash() && old[0].ImageID == desired.Spec.ImageID
	kept := slices.ContainsFunc(e2e.Registered(github), func(one string) bool { return slices.Contains(names, one) })
	if now := e2e.Registered(github); same && !slices.Equal(now, names) || !same && kept {
		t.Errorf("of the same spec and image: %t; registered before: %v, now: %v; want them kept only if both are the same", same, names, now)
	}
	t.Logf("of the same spec and image: %t", same)
	e2e.RunJobs(t, github, 1)
	e2e.Eventually(t, 3*time.Minute, "the fleet is whole", func() bool { return len(github.Runners()) == count })
	e2e.AwaitOnline(t, github, count)

	names = e2e.Registered(github)
	settings("1100MiB")
	e2e.Must(t, e2e.Up(name)...)
	e2e.AwaitOnline(t, github, count, names...)
	if again := e2e.SupervisorOf(t, api, name); again.ContainerID != second.ContainerID {
		t.Errorf("got %+v, want container %s", again, second.ContainerID)
	}
	e2e.Must(t, "down", "--fleet", name)
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}
