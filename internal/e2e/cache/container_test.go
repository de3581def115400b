//go:build linux && cache

package cache

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// cacheID returns the ID of the cache's container; "" if there is none.
func cacheID(t *testing.T, api *client.Client) string {
	t.Helper()
	found, err := api.ContainerInspect(t.Context(), cacheContainer)
	if client.IsErrNotFound(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	if !found.State.Running {
		t.Errorf("the cache is %s, want it running", found.State.Status)
	}
	return found.ID
}

// listed returns the entries of cache ls.
func listed(t *testing.T) (all []struct{ ID, Repository, Key string }) {
	t.Helper()
	if err := json.Unmarshal([]byte(e2e.Must(t, "cache", "ls", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// The fleets of a host share one cache. It is replaced when its settings change and keeps its entries
// then; down --cache removes it.
func TestContainer(t *testing.T) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) })
	hub := newUpstream(t, e2e.ImageMirror(t, api))
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	one, two, without := e2e.NewFleet(t, api), e2e.NewFleet(t, api), e2e.NewFleet(t, api)
	up := func(fleet, size string) {
		t.Helper()
		e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("cache: {size: %s, upstreams: {docker.io: %q}}\n", size, hub.URL))
		e2e.Must(t, e2e.Up(fleet)...)
	}
	up(one, "4GiB")
	first := cacheID(t, api)
	e2e.Must(t, "exec", e2e.List(t, one)[0].Name, "--", "docker", "pull", "--quiet", "busybox:1")
	before := listed(t)
	if first == "" || len(before) < 4 {
		t.Fatalf("cache %q with %v, want the tag, the manifest, the configuration and a layer", first, before)
	}

	t.Run("another fleet", func(t *testing.T) {
		up(two, "4GiB")
		if now := cacheID(t, api); now != first {
			t.Errorf("the cache is %s now, want %s", now, first)
		}
	})
	t.Run("another size", func(t *testing.T) {
		up(one, "5GiB")
		if now := cacheID(t, api); now == first || now == "" {
			t.Errorf("the cache is %q, want another container", now)
		}
		if now := listed(t); len(now) != len(before) {
			t.Errorf("entries %v, want %v", now, before)
		}
	})
	t.Run("removed by hand", func(t *testing.T) {
		if err := api.ContainerRemove(t.Context(), cacheContainer, container.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		e2e.Must(t, "exec", e2e.List(t, one)[0].Name, "--", "sh", "-c", "docker rmi busybox:1 >/dev/null; ! curl -fsS http://169.254.213.100:4180/v2/")
		up(one, "5GiB")
		if cacheID(t, api) == "" {
			t.Error("up did not start the cache")
		}
	})
	t.Run("rm, verify, prune", func(t *testing.T) {
		if out := e2e.Must(t, "cache", "rm", before[0].ID); out != before[0].ID+"\n" {
			t.Errorf("got %q, want the ID", out)
		}
		if code, _, said := e2e.Runnerctl(t.Context(), "cache", "rm", before[0].ID); code != 1 || !strings.Contains(said, "no cache has an entry "+before[0].ID) {
			t.Errorf("rm again: code %d, %s", code, said)
		}
		if out := e2e.Must(t, "cache", "verify"); out != "" {
			t.Errorf("verify: %s, want nothing", out)
		}
		e2e.Must(t, "cache", "prune", "--unused", "0s", "--yes")
		if left := listed(t); len(left) > 0 {
			t.Errorf("left %v, want nothing", left)
		}
	})
	t.Run("doctor", func(t *testing.T) {
		_, out, _ := e2e.Runnerctl(t.Context(), "doctor")
		if !strings.Contains(out, "cache.runs") || !strings.Contains(out, "cache.reaches") {
			t.Errorf("got\n%s\nwant the checks of the cache", out)
		}
	})
	t.Run("a fleet without a cache", func(t *testing.T) {
		e2e.WriteFile(t, "runnerctl.yaml", "cache: {size: 0}\n")
		e2e.Must(t, e2e.Up(without)...)
		name := e2e.List(t, without)[0].Name
		info, err := api.ContainerInspect(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, mounted := range info.Mounts {
			if strings.Contains(mounted.Name+mounted.Destination, "cache") || strings.Contains(mounted.Name, "preload") {
				t.Errorf("it has the mount %+v", mounted)
			}
		}
		for _, variable := range info.Config.Env {
			if strings.Contains(variable, "cache") || strings.Contains(variable, "4180") {
				t.Errorf("it has the variable %s", variable)
			}
		}
		e2e.Must(t, "exec", name, "--", "sh", "-euc", `! curl -fsS --max-time 5 http://169.254.213.100:4180/v2/ && ! curl -fsS --max-time 5 http://127.0.0.1:4180/v2/
			! grep -rs 4180 /etc/docker ~/.docker /etc/buildkit && ! env | grep ARCHIVE_CACHE`)
	})
	t.Run("down --cache", func(t *testing.T) {
		for _, fleet := range []string{one, two, without} {
			e2e.Must(t, "down", "--fleet", fleet)
		}
		if cacheID(t, api) == "" {
			t.Error("down of the fleets removed the cache")
		}
		_, _, said := e2e.Runnerctl(t.Context(), "down", "--cache", "--fleet", one)
		for _, name := range []string{"runnerctl-cache", "runnerctl-cache-socket", "runnerctl-cache-archives", "runnerctl-cache-tools"} {
			if !strings.Contains(said, name+"   removed") {
				t.Errorf("got\n%s\nwant %s removed", said, name)
			}
		}
		if now := cacheID(t, api); now != "" {
			t.Errorf("the cache %s is still there", now)
		}
	})
}
