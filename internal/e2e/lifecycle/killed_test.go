//go:build linux

package lifecycle

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// A user who may not open the engine's socket gets an error with the fix.
func TestForbiddenSocket(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 64})
	dir := filepath.Dir(strings.TrimPrefix(engine.Host, "unix://"))
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Only its owner can reach the tests' own binary.
	text, err := os.ReadFile(e2e.Process(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "runnerctl")
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ps", "up", "doctor", "version"} {
		var output bytes.Buffer
		forbidden := exec.Command(path, command)
		forbidden.Dir, forbidden.Stdout, forbidden.Stderr = "/", &output, &output
		forbidden.Env = append(os.Environ(), "DOCKER_HOST="+engine.Host, "HOME=/nonexistent")
		forbidden.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		_ = forbidden.Run()
		code, text := forbidden.ProcessState.ExitCode(), output.String()
		if !strings.Contains(text, "permission denied") || strings.Contains(text, "http://") {
			t.Errorf("%s: %s\nwant %q, and no http://", command, text, "permission denied")
		}
		if command != "version" && (code != commands.ExitFailure || !strings.Contains(text, "usermod -aG docker")) {
			t.Errorf("%s: exit code %d, want %d: %s\nwant %q", command, code, commands.ExitFailure, output.String(), "usermod -aG docker")
		}
	}
}

// After runnerctl is killed at any moment, the next up and down repair the fleet, at GitHub too: no
// registration is left there.
func TestKilledAtRandomMomentsWithGitHub(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	github.Inject(ghsim.Fault{Match: "POST /repos/acme/api/actions/runners/generate-jitconfig", Latency: 300 * time.Millisecond}) // so that kills also hit registrations
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet")
	killAtRandom(t, api, name, github)
}

// killAtRandom kills ups and downs of a fleet, which is registered with github unless that is
// nil.
func killAtRandom(t *testing.T, api *client.Client, name string, github *ghsim.Server) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	atGitHub := func() []string {
		if github == nil {
			return nil
		}
		return e2e.Registered(github)
	}
	for i := range e2e.Killings { // up, up, down, down follow a killed up, down, up, down
		command := e2e.Process(t, "up", "--fleet", name, "--count", "2", "--progress", "quiet")
		limit := 3 * time.Second
		if i%2 == 1 {
			command = e2e.Process(t, "down", "--fleet", name)
			limit = time.Second
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(limit))))
		_ = command.Process.Kill() // it may have ended already
		_ = command.Wait()
		if i%4 > 1 {
			e2e.Must(t, "down", "--fleet", name)
			if left := append(e2e.Leftovers(t, api, name), atGitHub()...); len(left) > 0 {
				t.Errorf("down after killing %d: left behind: %v", i, left)
			}
			continue
		}
		e2e.Must(t, e2e.Up(name, "--count", "2")...)
		var names, want []string
		for _, runner := range e2e.List(t, name) {
			names = append(names, runner.Name)
			want = append(want, "/"+runner.Name, runner.Name+"-data")
		}
		have := e2e.Leftovers(t, api, name)
		slices.Sort(names)
		slices.Sort(want)
		slices.Sort(have)
		if len(names) != 2 || !slices.Equal(have, want) {
			t.Errorf("up after killing %d: %v, want %v", i, have, want)
		}
		if at := atGitHub(); github != nil && !slices.Equal(at, names) {
			t.Errorf("up after killing %d: registered: %v, want %v", i, at, names)
		}
	}
}
