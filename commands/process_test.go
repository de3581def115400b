//go:build linux

package commands

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// program is runnerctl as a process of its own (TestMain), for what can only be
// seen from outside: signals and users.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("runnerctl")
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, args...)
}

// A user who may not open the engine's socket is told what to do.
func TestForbiddenSocket(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 64})
	dir := filepath.Dir(strings.TrimPrefix(engine.Host, "unix://"))
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The tests' own binary lies where only its owner may go.
	text, err := os.ReadFile(program(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "runnerctl")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ps", "up", "doctor"} {
		var output bytes.Buffer
		forbidden := exec.Command(path, command)
		forbidden.Dir, forbidden.Stdout, forbidden.Stderr = "/", &output, &output
		forbidden.Env = append(os.Environ(), "DOCKER_HOST="+engine.Host, "HOME=/nonexistent")
		forbidden.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		_ = forbidden.Run()
		if code := forbidden.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(output.String(), "permission denied") || !strings.Contains(output.String(), "usermod -aG docker") {
			t.Errorf("%s: code %d: %s", command, code, output.String())
		}
	}
}

// Whenever runnerctl is killed in an up or a down, the next down leaves nothing.
func TestKilledAtRandomMoments(t *testing.T) {
	api := realEngine(t)
	runnerImage(t)
	killAtRandom(t, api, newFleet(t, api), func() []string { return nil })
}

// Nor does it at GitHub.
func TestKilledAtRandomMomentsWithGitHub(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	github.Inject(ghsim.Fault{Match: "POST /repos/acme/api/actions/runners/generate-jitconfig", Latency: 300 * time.Millisecond}) // mints take their share of the moments
	must(t, "build", "--bootstrap-base", "--progress", "quiet")
	killAtRandom(t, api, name, func() []string { return registered(github) })
}

// killAtRandom kills ups and downs of a fleet; registered is what GitHub lists.
func killAtRandom(t *testing.T, api *client.Client, name string, registered func() []string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range killings {
		command := program(t, "up", "--fleet", name, "--count", "2", "--progress", "quiet")
		limit := 3 * time.Second
		if i%2 == 1 { // the fleet is up, or half of it
			command = program(t, "down", "--fleet", name)
			limit = time.Second
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(limit))))
		_ = command.Process.Kill() // it may have ended already
		_ = command.Wait()
		if i%4 < 2 {
			continue // the next one meets what this one left
		}
		if code, _, stderr := runnerctl(context.Background(), "down", "--fleet", name); code != 0 {
			t.Fatalf("down after killing %d: %s", i, stderr)
		}
		if left := append(leftovers(t, api, name), registered()...); len(left) > 0 {
			t.Errorf("after killing %d: left behind: %v", i, left)
		}
	}
	// And up after a killing makes the whole fleet.
	must(t, up(name, "--count", "2")...)
	if runners := list(t, name); len(runners) != 2 {
		t.Errorf("%d runners", len(runners))
	}
	if at := registered(); len(at) != 0 && len(at) != 2 {
		t.Errorf("registered: %v", at)
	}
}
