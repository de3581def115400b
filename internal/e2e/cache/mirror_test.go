//go:build linux

package cache

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// upstream is a registry in the place of Docker Hub that counts its downloads.
type upstream struct {
	*httptest.Server
	mutex sync.Mutex
	blobs map[string]int // downloads by path
}

func newUpstream(t *testing.T, registry string) *upstream {
	t.Helper()
	to, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{blobs: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(to)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			u.mutex.Lock()
			u.blobs[r.URL.Path]++
			u.mutex.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) downloads() map[string]int {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return maps.Clone(u.blobs)
}

// Runners pull an image and build from it. The registry serves each blob once, and then need not
// answer any more.
func TestMirror(t *testing.T) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) }) // after the runners, which have its volume
	hub := newUpstream(t, e2e.ImageMirror(t, api))
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("cache: {size: 4GiB, upstreams: {docker.io: %q}}\n", hub.URL))
	e2e.Must(t, e2e.Up(name, "--count", "3")...)
	runners := e2e.List(t, name)
	const build = "printf 'FROM busybox:1\\nRUN echo from the mirror\\n' | DOCKER_BUILDKIT=1 docker build --progress plain - 2>&1"

	t.Run("pull", func(t *testing.T) {
		e2e.Must(t, "exec", runners[0].Name, "--", "docker", "pull", "--quiet", "busybox:1")
		e2e.Must(t, "exec", runners[0].Name, "--", "docker", "run", "--rm", "busybox:1", "true")
	})
	first := hub.downloads()
	t.Run("build in another runner", func(t *testing.T) {
		if out := e2e.Must(t, "exec", runners[1].Name, "--", "sh", "-c", build); !strings.Contains(out, "from the mirror") {
			t.Errorf("got\n%s\nwant a build", out)
		}
	})
	for path, count := range hub.downloads() {
		if count != 1 || first[path] != 1 {
			t.Errorf("%s was downloaded %d times, want once, for the pull", path, count)
		}
	}
	if len(first) < 2 {
		t.Errorf("downloads: %v, want a configuration and a layer", first)
	}
	t.Run("cache ls", func(t *testing.T) {
		if table := e2e.Must(t, "cache", "ls"); strings.Count(table, "docker.io") < 2+len(first) {
			t.Errorf("got\n%s\nwant the blobs, the manifest and the tag", table)
		}
	})
	hub.Close()
	t.Run("without the registry", func(t *testing.T) {
		e2e.Must(t, "exec", runners[2].Name, "--", "docker", "pull", "--quiet", "busybox:1")
	})
}
