//go:build linux

// Package cache runs the real clients of a host's cache inside runners.
package cache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// clientFolder holds the files of clientArchive until the tests end.
var clientFolder string

// clientArchive is the folder of an action with two versions of npm's @actions/cache, as an archive.
// The folder itself is next to it, as "client".
var clientArchive = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "runnerctl-cache-client-")
	if err != nil {
		return "", err
	}
	clientFolder = folder
	source := e2e.InRepository("internal/e2e/cache/testdata/client")
	script := fmt.Sprintf("cp %s/* . && npm install --silent --no-audit --no-fund --no-package-lock && tar -czf ../client.tar.gz . ", source)
	work := filepath.Join(folder, "client")
	if err := os.Mkdir(work, 0o755); err != nil {
		return "", err
	}
	command := exec.Command("sh", "-euc", script)
	command.Dir = work
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm: %w: %s", err, said)
	}
	return filepath.Join(folder, "client.tar.gz"), nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if clientFolder != "" {
		_ = os.RemoveAll(clientFolder)
	}
	if len(figures) > 0 {
		fmt.Println("figures: " + strings.Join(figures, "; "))
	}
	os.Exit(code)
}

// figures are measured by tests, for one line at the end.
var figures []string

// fixture is a fleet with a cache. Its agent has Debian's node as GitHub's has one of its own.
type fixture struct {
	t       *testing.T
	github  *ghsim.Server
	name    string
	archive string
	up      []string // more arguments of up
}

// start makes the fleet. Cache and image are settings of runnerctl.yaml in addition to its own, and
// more are whole lines of it.
func start(t *testing.T, cache, image string, more ...string) *fixture {
	t.Helper()
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) }) // after the runners, which have its volume
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	f := &fixture{t: t, github: e2e.StartGitHub(t, ghsim.Options{RunnerAddress: e2e.BridgeAddress(t) + ":0"})}
	f.name = e2e.NewFleet(t, api)
	var err error
	if f.archive, err = clientArchive(); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(node, []byte("#!/bin/sh\nexec /usr/bin/node \"$@\"\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	e2e.WriteSettings(t, f.github, "acme/api", append(more, "cache: {size: 4GiB"+cache+"}",
		fmt.Sprintf("image: {packages: [nodejs, zstd]"+image+", agent: {archive: %s}}", agenttest.Archive(t, "-file", "externals/node20/bin/node="+node)))...)
	return f
}

func removeCache(t *testing.T) {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if _, err := engine.RemoveCache(context.Background()); err != nil {
		t.Error(err)
	}
}

// run runs an action in a new runner, which gets the files. The script runs before the action.
func (f *fixture) run(ref, script string, with map[string]string, files ...string) ghsim.Result {
	f.t.Helper()
	e2e.Must(f.t, e2e.Up(f.name, f.up...)...)
	for _, runner := range e2e.List(f.t, f.name) {
		for _, file := range append(files, f.archive) {
			e2e.Must(f.t, "cp", file, runner.Name+":"+filepath.Base(file))
		}
	}
	id, err := f.github.Queue(ghsim.Job{Name: "build", Ref: ref, RunsOn: ghsim.Strings{"self-hosted"}, Steps: []ghsim.Step{
		{Run: "mkdir client && tar -xzf ~/client.tar.gz -C client\n" + script},
		{Uses: "./client", With: with},
		{Run: "if [ -e data/file ]; then ls -l data; sha256sum data/file; fi"},
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	return e2e.AwaitJob(f.t, f.github, id)
}

// An unchanged client saves to the cache of the host and restores from it in another runner.
func TestActionsCache(t *testing.T) {
	f := start(t, "", "")
	for _, library := range []string{"cache4", "cache6"} {
		saved := f.run("", "mkdir data && seq 100000 >data/file", map[string]string{"library": library, "operation": "save", "path": "data", "key": "deps-" + library})
		restored := f.run("refs/heads/topic", "true", map[string]string{"library": library, "operation": "restore", "path": "data", "key": "none", "restore": "deps-" + library})
		if all := e2e.List(t, f.name); !slices.ContainsFunc(all, func(one fleet.Runner) bool {
			return one.Name == restored.Runner && one.Cache != nil && one.Cache.Hits == 1 && one.Cache.Misses == 0
		}) {
			t.Errorf("%s: ps lists %+v, want one hit of %s", library, all, restored.Runner)
		}
		for what, result := range map[string]ghsim.Result{"saved true": saved, "restored deps-" + library: restored} {
			if result.Conclusion != "success" || !strings.Contains(result.Log, what) || !strings.Contains(result.Log, "by http://169.254.213.100:4180/") {
				t.Errorf("%s: %s, log:\n%s\nwant %q", library, result.Conclusion, result.Log, what)
			}
		}
	}
}

// A supervisor records how a job used the cache.
func TestUseInTheRecord(t *testing.T) {
	f := start(t, "", "")
	f.up = []string{"--no-supervisor=false"}
	for _, one := range []struct{ operation, use string }{{"restore", "hits: 0, misses: 1, "}, {"save", "hits: 0, misses: 0, restored: 0B, saved: "}, {"restore", "hits: 1, misses: 0, "}} {
		job := f.run("", "[ -e data ] || { mkdir data && seq 1000 >data/file; }", map[string]string{"library": "cache4", "operation": one.operation, "path": "data", "key": "deps"})
		e2e.Eventually(t, 30*time.Second, one.use+"in the record of the job", func() bool {
			code, record, _ := e2e.Runnerctl(t.Context(), "inspect", job.Runner)
			return code == 0 && strings.Contains(record, one.use)
		})
	}
	e2e.Eventually(t, 30*time.Second, "the use of the last job in an event", func() bool {
		return strings.Contains(e2e.Must(t, "events", "--fleet", f.name), "; cache hits: 1, misses: 0")
	})
}
