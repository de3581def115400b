//go:build linux && cache

package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

const (
	cacheContainer = "runnerctl-cache"
	entries        = "/var/lib/docker/volumes/runnerctl-cache/_data"
)

// crash kills the cache's process once a condition holds. The engine starts it again.
func crash(t *testing.T, api *client.Client, when func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !when(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Error("the transfer did not begin within a minute")
			return
		}
	}
	before, err := api.ContainerInspect(t.Context(), cacheContainer)
	if err != nil {
		t.Error(err)
		return
	}
	if err := syscall.Kill(before.State.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // not in the test's own goroutine
		now, err := api.ContainerInspect(t.Context(), cacheContainer)
		if err == nil && now.State.Running && now.RestartCount > before.RestartCount {
			return
		}
		if time.Now().After(end) {
			t.Error("the cache did not run again within 20 s")
			return
		}
	}
}

// grows reports whether some file below a folder has more than a MiB.
func grows(folder string) func() bool {
	return func() bool {
		found := false
		_ = filepath.Walk(folder, func(_ string, info os.FileInfo, err error) error {
			found = found || err == nil && info.Mode().IsRegular() && info.Size() > 1<<20
			return nil
		})
		return found
	}
}

// Jobs finish, without the cache, if it ends while they use it, or if the disk has changed a block. No
// wrong byte reaches them, and later jobs use it again.
func TestFaults(t *testing.T) {
	api := e2e.Engine(t)
	f := start(t, "", "")
	const size = 200 << 20
	const restored = "  data/file" // after its sum, in the log of a job
	script := fmt.Sprintf("mkdir data && head -c %d /dev/urandom >data/file && sha256sum data/file", size)
	with := func(operation string) map[string]string {
		return map[string]string{"operation": operation, "path": "data", "key": "deps"}
	}
	done := func(what string, result ghsim.Result, said string) {
		t.Helper()
		if result.Conclusion != "success" || !strings.Contains(result.Log, said) {
			t.Errorf("%s: %s, want success and %q, log:\n%s", what, result.Conclusion, said, result.Log)
		}
	}
	// meanwhile runs a job while the cache crashes.
	meanwhile := func(when func() bool, script, operation string) ghsim.Result {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			crash(t, api, when)
		}()
		result := f.run("", script, with(operation))
		<-ended
		return result
	}

	done("a save that is cut off", meanwhile(grows(entries+"/uploads"), script, "save"), "saved false")
	done("the next restore", f.run("", "true", with("restore")), "restored undefined")
	saved := f.run("", script, with("save"))
	done("the next save", saved, "saved true")
	at := strings.Index(saved.Log, restored)
	if at < 64 {
		t.Fatalf("no sum in the log:\n%s", saved.Log)
	}
	sum := saved.Log[at-64 : at]

	transfers := func() bool { // the client's file in a runner's own layer
		matches, _ := filepath.Glob("/var/lib/docker/overlay2/*/diff/rootfs/home/runner/actions-runner/_work/_temp/*/cache.*")
		for _, match := range matches {
			if info, err := os.Stat(match); err == nil && info.Size() > 1<<20 {
				return true
			}
		}
		return false
	}
	done("a restore that is cut off", meanwhile(transfers, "true", "restore"), "restored undefined")
	whole := f.run("", "true", with("restore"))
	done("the next restore", whole, "restored deps")
	if !strings.Contains(whole.Log, sum) {
		t.Errorf("want the file with the sum %s, log:\n%s", sum, whole.Log)
	}

	blocks, err := filepath.Glob(entries + "/entries/*/[0-9]*")
	if err != nil || len(blocks) == 0 {
		t.Fatal(blocks, err)
	}
	file, err := os.OpenFile(blocks[len(blocks)-1], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt([]byte("changed"), 12345)
	if closed := file.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	damaged := f.run("", "true", with("restore"))
	done("a block that changed on the disk", damaged, "restored undefined")
	if strings.Contains(damaged.Log, restored) {
		t.Errorf("a file was restored, log:\n%s", damaged.Log)
	}
	done("the next save", f.run("", script, with("save")), "saved true")
}

// A pull and a build succeed although the cache ends while they download.
func TestPullWhileTheCacheEnds(t *testing.T) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) })
	registry := e2e.ImageMirror(t, api)
	one, err := random.Layer(50<<20, types.DockerLayer)
	if err != nil {
		t.Fatal(err)
	}
	pushLayers(t, registry, "cut:1", one)
	hub := newSlow(t, registry)
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("cache: {size: 4GiB, upstreams: {docker.io: %q}}\n", hub.URL))
	e2e.Must(t, e2e.Up(name, "--count", "2")...)
	runners := e2e.List(t, name)
	for i, command := range []string{"docker pull --quiet cut:1", "echo 'FROM cut:1' | docker build --quiet -"} {
		before := hub.sent.Load()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			crash(t, api, func() bool { return hub.sent.Load() > before+1<<20 })
		}()
		if code, _, said := e2e.Runnerctl(t.Context(), "exec", runners[i].Name, "--", "sh", "-c", command); code != 0 {
			t.Errorf("%s: code %d\n%s", command, code, said)
		}
		<-ended
		e2e.Must(t, "cache", "prune", "--unused", "0s", "--yes")
	}
}
