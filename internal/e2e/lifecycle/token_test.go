//go:build linux

package lifecycle

import (
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// emptyEngine starts a private engine with an image that holds nothing.
func emptyEngine(t *testing.T) *enginetest.Engine {
	t.Helper()
	engine := e2e.PlainEngine(t, enginetest.Options{DiskMiB: 64})
	t.Setenv("DOCKER_HOST", engine.Host)
	t.Chdir(t.TempDir())
	return engine
}

// A container that names another GitHub host for its runner does not get the token sent
// there.
func TestTokenStaysAtItsHost(t *testing.T) {
	engine := emptyEngine(t)
	elsewhere := e2e.StartGitHub(t, ghsim.Options{})
	home := e2e.NewGitHub(t, ghsim.Options{}, "acme/api") // from here on, the environment holds the token for this one
	makeDead := func(name string, env ...string) {
		labels := map[string]string{"dev.runnerctl.fleet": name[:2], "dev.runnerctl.role": "runner", "dev.runnerctl.schema": "1", "dev.runnerctl.runner": name}
		if _, err := engine.API.VolumeCreate(t.Context(), volume.CreateOptions{Name: name + "-data", Labels: labels}); err != nil {
			t.Fatal(err)
		}
		if _, err := engine.API.ContainerCreate(t.Context(), &container.Config{
			Image: "empty", Cmd: []string{"/none"}, Labels: labels, Env: env,
		}, &container.HostConfig{Binds: []string{name + "-data:/rootfs/var/lib/docker"}}, nil, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	makeDead("ci-aaaa", "RUNNERCTL_AGENT=jit", "RUNNERCTL_AGENT_URL="+elsewhere.URL+"/acme/api")
	makeDead("zz-aaaa") // of another fleet, not registered with GitHub
	const reason = "is not asked: the token is for "
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "ps", "--fleet", "ci")
	if code != 0 || !strings.Contains(stdout, "not asked") || !strings.Contains(stderr, elsewhere.URL+"/acme/api "+reason+strings.TrimPrefix(home.URL, "https://")) {
		t.Errorf("ps: exit code %d, want 0; stdout:\n%s\nstderr:\n%s\nwant %q and %q", code, stdout, stderr, "not asked", elsewhere.URL+"/acme/api "+reason+strings.TrimPrefix(home.URL, "https://"))
	}
	code, stdout, stderr = e2e.Runnerctl(t.Context(), "down", "--all", "--dry-run")
	if code != commands.ExitFailure || !strings.Contains(stderr, reason) || !strings.HasPrefix(stdout, "remove  zz-aaaa") {
		t.Errorf("down --all --dry-run: exit code %d, want %d; stdout:\n%s\nstderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stdout, stderr, reason, "remove  zz-aaaa")
	}
	for _, args := range [][]string{{"down", "--fleet", "ci"}, {"down", "--all"}} {
		if code, _, stderr := e2e.Runnerctl(t.Context(), args...); code != commands.ExitFailure || !strings.Contains(stderr, reason) || !strings.Contains(stderr, "--target "+elsewhere.URL+"/acme/api") || !strings.Contains(stderr, "--force") {
			t.Errorf("%v: exit code %d, want %d; stderr:\n%s\nwant %q, %q and %q", args, code, commands.ExitFailure, stderr, reason, "--target "+elsewhere.URL+"/acme/api", "--force")
		}
	}
	e2e.WriteFile(t, "runnerctl.yaml", "") // without a target, github.com is assumed
	if code, _, stderr := e2e.Runnerctl(t.Context(), "down", "--fleet", "ci"); code != commands.ExitFailure || !strings.Contains(stderr, reason+"github.com") {
		t.Errorf("down: exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, reason+"github.com")
	}
	if asked := elsewhere.Requests(); len(asked) > 0 {
		t.Errorf("asked elsewhere: %+v, want nothing", asked)
	}
	if len(e2e.Leftovers(t, engine.API, "ci")) == 0 {
		t.Error("removed without its registration")
	}
	if left := e2e.Leftovers(t, engine.API, "zz"); len(left) > 0 {
		t.Errorf("down --all left of another fleet: %v", left)
	}
	e2e.Must(t, "down", "--fleet", "ci", "--force")
	if left := e2e.Leftovers(t, engine.API, "ci"); len(left) > 0 || len(elsewhere.Requests()) > 0 {
		t.Errorf("left: %v, asked: %v", left, elsewhere.Requests())
	}
}

// A runnerctl that is killed between a registration and the first object on the engine leaves
// a trace only at GitHub.
func TestDownOfRegistrationsOnly(t *testing.T) {
	engine := emptyEngine(t)
	github := e2e.NewGitHub(t, ghsim.Options{}, "acme/api", "name: ci")
	info, err := engine.API.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"down"}, {"down", "--all"}} {
		client := e2e.GitHubClient(t)
		for name, marker := range map[string]string{"ci-aaaa": fleet.Marker("ci", info.ID), "ci-bbbb": fleet.Marker("ci", "another engine")} {
			if _, _, err := client.GenerateJIT(t.Context(), name, 1, []string{marker}, "_work"); err != nil && name == "ci-aaaa" {
				t.Fatal(err)
			}
		}
		if plan := e2e.Must(t, append(args, "--dry-run")...); plan != "forget  ci-aaaa  (offline at GitHub, and no runner here has it)\n" {
			t.Errorf("%v: plan:\n%s\nwant\n%s", args, plan, "forget  ci-aaaa  (offline at GitHub, and no runner here has it)\n")
		}
		e2e.Must(t, args...)
		if left := e2e.Registered(github); !slices.Equal(left, []string{"ci-bbbb"}) {
			t.Errorf("%v: registered: %v, want ci-bbbb alone", args, left)
		}
	}
}
