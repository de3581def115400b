//go:build linux

package lifecycle

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func throwAway(name string, args ...string) []string {
	return append([]string{"run", "--fleet", name, "--bootstrap-base", "--progress", "quiet"}, args...)
}

// throwAways returns the names of the fleet's containers with the given role.
func throwAways(t *testing.T, api *client.Client, name, role string) (found []string) {
	t.Helper()
	list, err := api.ContainerList(context.Background(), container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", "dev.runnerctl.fleet="+name), filters.Arg("label", "dev.runnerctl.role="+role))})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		found = append(found, strings.TrimPrefix(one.Names[0], "/"))
	}
	return found
}

func TestRun(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	if err := os.MkdirAll("src/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{"src/plain": 0o640, "src/sub/setuid": 0o755 | os.ModeSetuid} {
		if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", "src/link"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		to, list string
		want     string
	}{
		{"", "src", "runner:runner 755 src\nrunner:runner 777 src/link\nrunner:runner 640 src/plain\nrunner:runner 755 src/sub\nrunner:runner 755 src/sub/setuid\n"},
		{":/srv/a/b", "/srv", "root:root 755 /srv\nrunner:runner 755 /srv/a\nrunner:runner 755 /srv/a/b\nrunner:runner 777 /srv/a/b/link\nrunner:runner 640 /srv/a/b/plain\nrunner:runner 755 /srv/a/b/sub\nrunner:runner 755 /srv/a/b/sub/setuid\n"},
	} {
		var out, errs bytes.Buffer
		streams := ui.Streams{In: strings.NewReader("typed"), Out: &out, Err: &errs}
		code := commands.Run(t.Context(), session.Session{Streams: streams, Env: os.Getenv, GOOS: "linux"}, append([]string{"runnerctl"},
			throwAway(name, "--copy", "src"+test.to, "--", "sh", "-c", "id -un; pwd; cat; echo; docker ps -q; find "+test.list+" -printf '%u:%g %m %p\n' | sort -k3; echo aside >&2; exit 7")...))
		if code != 7 || out.String() != "runner\n/home/runner\ntyped\n"+test.want || !strings.Contains(errs.String(), "aside") {
			t.Errorf("exit code %d, want 7; stdout %q, want %q; stderr %q, want %q", code, out.String(), "runner\n/home/runner\ntyped\n"+test.want, errs.String(), "aside")
		}
		if left := e2e.Leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	for to, problem := range map[string]string{
		"/run/x":     "/run is recreated at each start",
		"/var/run/x": "/var/run is a symbolic link in the image",
		"/etc/hosts": "/etc/hosts is not a folder",
	} {
		code, stdout, stderr := e2e.Runnerctl(t.Context(), throwAway(name, "--copy", "src:"+to, "--", "true")...)
		if code != commands.ExitFailure || stdout != "" || !strings.Contains(stderr, problem) {
			t.Errorf("%s: exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q", to, code, commands.ExitFailure, stdout, stderr, problem)
		}
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	api := e2e.Engine(t)
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "plain")
	for _, after := range []time.Duration{100, 600, 1200} {
		t.Run((after * time.Millisecond).String(), func(t *testing.T) {
			name := e2e.NewFleet(t, api)
			ctx, cancel := context.WithCancelCause(t.Context())
			timer := time.AfterFunc(after*time.Millisecond, func() { cancel(commands.ErrInterrupted) })
			defer timer.Stop()
			if code, _, stderr := e2e.Runnerctl(ctx, throwAway(name, "--", "sleep", "600")...); code != commands.ExitInterrupted {
				t.Errorf("exit code %d, want %d; stderr:\n%s", code, commands.ExitInterrupted, stderr)
			}
			if left := e2e.Leftovers(t, api, name); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A run that is killed can't clean up: prune finds its leftovers.
func TestKilledRun(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	killed := e2e.Process(t, throwAway(name, "--", "sleep", "600")...)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, time.Minute, "the runner is made", func() bool { return len(throwAways(t, api, name, "run")) == 1 })
	runner := throwAways(t, api, name, "run")[0]
	t.Cleanup(func() { _ = api.ContainerRemove(context.Background(), runner, container.RemoveOptions{Force: true}) })
	if plan := e2e.Must(t, "prune", "--dry-run"); strings.Contains(plan, runner) {
		t.Errorf("before:\n%s\nwant nothing of %s", plan, runner)
	}
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	e2e.Eventually(t, time.Minute, "prune would remove it", func() bool {
		return strings.Contains(e2e.Must(t, "prune", "--dry-run"), runner+"  ")
	})
	if _, plan, _ := e2e.Runnerctl(t.Context(), "down", "--all", "--dry-run"); !strings.Contains(plan, "remove  "+runner+"  (its runnerctl run is gone)\n") {
		t.Errorf("plan:\n%s\nwant %q", plan, "remove  "+runner+"  (its runnerctl run is gone)\n")
	}
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	// As prune does, but for this runner only, since other tests use this engine.
	if err := engine.Discard(t.Context(), runner); err != nil {
		t.Error(err)
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeptRun(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	code, _, stderr := e2e.Runnerctl(t.Context(), throwAway(name, "--keep", "--", "sh", "-c", "echo mine >kept; exit 3")...)
	kept := throwAways(t, api, name, "kept")
	if code != 3 || len(kept) != 1 || !strings.Contains(stderr, "kept "+kept[0]) {
		t.Fatalf("exit code %d, want 3; kept %v, want one; stderr:\n%s", code, kept, stderr)
	}
	if got := e2e.Must(t, "exec", kept[0], "--", "cat", "kept"); got != "mine\n" {
		t.Errorf("got %q, want %q", got, "mine\n")
	}
	if plan := e2e.Must(t, "prune", "--dry-run"); strings.Contains(plan, kept[0]) {
		t.Errorf("plan:\n%s\nwant nothing of %s", plan, kept[0])
	}
	if plan := e2e.Must(t, "prune", "--dry-run", "--kept"); !strings.Contains(plan, kept[0]) {
		t.Errorf("plan:\n%s\nwant %s", plan, kept[0])
	}
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if err := engine.Discard(t.Context(), kept[0]); err != nil {
		t.Error(err)
	}
}
