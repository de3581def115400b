//go:build linux && cache

package cache

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/machine/forward"
)

const (
	largeEntry = 600 << 20       // bytes
	largeImage = 500 << 20       // bytes, in five layers
	uplink     = 100_000_000 / 8 // bytes per second
	distance   = 50 * time.Millisecond
	pulls      = 10
)

// slow is a registry behind an uplink that all its clients share.
type slow struct {
	*httptest.Server
	sent  atomic.Int64 // bytes
	mutex sync.Mutex
	free  time.Time // when the uplink is free again
}

func newSlow(t *testing.T, registry string) *slow {
	t.Helper()
	to, err := url.Parse(registry)
	if err != nil {
		t.Fatal(err)
	}
	s := &slow{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(distance)
		proxy.ServeHTTP(limited{w, s}, r)
	}))
	// Runners reach it without a cache, too.
	if s.Listener, err = net.Listen("tcp", e2e.BridgeAddress(t)+":0"); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// pass waits until the uplink has transferred so many bytes.
func (s *slow) pass(bytes int) {
	s.sent.Add(int64(bytes))
	s.mutex.Lock()
	if now := time.Now(); s.free.Before(now) {
		s.free = now
	}
	s.free = s.free.Add(time.Duration(bytes) * time.Second / uplink)
	until := s.free
	s.mutex.Unlock()
	time.Sleep(time.Until(until))
}

type limited struct {
	http.ResponseWriter
	uplink *slow
}

func (l limited) Write(text []byte) (int, error) {
	l.uplink.pass(len(text))
	return l.ResponseWriter.Write(text)
}

// Flush implements http.Flusher.
func (l limited) Flush() { l.ResponseWriter.(http.Flusher).Flush() } //nolint:forcetypeassert // net/http's own

// pullAtOnce pulls the large image in ten runners and returns the time.
func pullAtOnce(t *testing.T, api *client.Client, settings string) time.Duration {
	t.Helper()
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", settings)
	e2e.Must(t, e2e.Up(name, "--count", strconv.Itoa(pulls))...)
	started := time.Now()
	group := new(errgroup.Group)
	for _, runner := range e2e.List(t, name) {
		group.Go(func() error {
			if code, _, said := e2e.Runnerctl(t.Context(), "exec", runner.Name, "--", "docker", "pull", "--quiet", "large:1"); code != 0 {
				return fmt.Errorf("%s: code %d: %s", runner.Name, code, said)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(started)
	e2e.Must(t, "down", "--fleet", name)
	return took
}

// Ten runners that pull an image at once download it once, and need less than a third of the time.
func TestTenPulls(t *testing.T) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) })
	registry := e2e.ImageMirror(t, api)
	var layers []v1.Layer
	for range 5 {
		one, err := random.Layer(largeImage/5, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, one)
	}
	pushLayers(t, registry, "large:1", layers...)
	hub := newSlow(t, registry)
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))

	cached := pullAtOnce(t, api, fmt.Sprintf("cache: {size: 8GiB, upstreams: {docker.io: %q}}\n", hub.URL))
	sent := hub.sent.Load()
	direct := pullAtOnce(t, api, fmt.Sprintf("runners: {dockerd: {registry-mirrors: [%q]}}\n", hub.URL))
	ratio, bytes := cached.Seconds()/direct.Seconds(), float64(sent)/largeImage
	figure("ten pulls of 500 MB: %.1f s, %.2f × direct pulls (%.0f s), %.2f × the image from the registry", cached.Seconds(), ratio, direct.Seconds(), bytes)
	if ratio > 0.3 {
		t.Errorf("ten pulls take %s with the cache and %s without: %.2f, want 0.3 at most", cached, direct, ratio)
	}
	if bytes > 1.1 {
		t.Errorf("the registry sent %d bytes for an image of %d: %.2f, want 1.1 at most", sent, int64(largeImage), bytes)
	}
}

var restored = regexp.MustCompile(`restored large in (\d+) ms by (\S+)`)

// restoreTime returns the time that a client reports.
func restoreTime(t *testing.T, log string) time.Duration {
	t.Helper()
	found := restored.FindStringSubmatch(log)
	if found == nil {
		t.Fatalf("no restore in\n%s", log)
	}
	milliseconds, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(milliseconds) * time.Millisecond
}

// onLoopback makes the cache of this host available on its loopback and returns the URL.
func onLoopback(t *testing.T) string {
	t.Helper()
	const socket = "/var/lib/docker/volumes/runnerctl-cache-socket/_data/cache.sock"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	cache, err := forward.Open(socket, "host")
	if err != nil {
		t.Fatal(err)
	}
	go cache.Serve(listener)
	return "http://" + listener.Addr().String() + "/"
}

// A large entry is restored in a runner about as fast as on the host itself.
func TestLargeRestore(t *testing.T) {
	f := start(t, "", "")
	with := func(operation string) map[string]string {
		return map[string]string{"operation": operation, "path": "data", "key": "large"}
	}
	script := fmt.Sprintf("mkdir data && head -c %d /dev/urandom >data/file", largeEntry)
	if saved := f.run("", script, with("save")); !strings.Contains(saved.Log, "saved true") {
		t.Fatalf("%s, log:\n%s", saved.Conclusion, saved.Log)
	}
	var inside, host []float64
	at := onLoopback(t)
	for range 3 {
		result := f.run("", "true", with("restore"))
		inside = append(inside, restoreTime(t, result.Log).Seconds())
		host = append(host, f.onHost(at).Seconds())
	}
	fast, slow := median(inside), median(host)
	ratio, gigabits := slow/fast, largeEntry*8/fast/1e9
	figure("restore of 600 MB: %.1f s in a runner, %.2f × the speed on the host, %.1f Gbit/s", fast, ratio, gigabits)
	if ratio < 0.6 {
		t.Errorf("a restore takes %.2f s in a runner and %.2f s on the host: %.2f × the speed, want at least 0.6", fast, slow, ratio)
	}
}

// onHost restores the large entry outside of a runner.
func (f *fixture) onHost(at string) time.Duration {
	f.t.Helper()
	work := f.t.TempDir()
	command := exec.CommandContext(f.t.Context(), "node", filepath.Join(filepath.Dir(f.archive), "client", "client.mjs"))
	command.Dir = work
	command.Env = append(os.Environ(), "ACTIONS_RESULTS_URL="+at, "ACTIONS_RUNTIME_TOKEN="+f.github.JobToken("acme/api", ""),
		"ACTIONS_CACHE_SERVICE_V2=true", "RUNNER_TEMP="+work, "GITHUB_WORKSPACE="+work,
		"INPUT_LIBRARY=cache6", "INPUT_OPERATION=restore", "INPUT_PATH=data", "INPUT_KEY=large")
	said, err := command.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%v: %s", err, said)
	}
	if err := os.RemoveAll(filepath.Join(work, "data")); err != nil {
		f.t.Fatal(err)
	}
	return restoreTime(f.t, string(said))
}

// Preloaded images cost a start next to nothing, and their first use is as fast as the next one.
func TestPreloadFigures(t *testing.T) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) })
	registry := e2e.ImageMirror(t, api)
	var names []string
	for i := range 3 {
		one, err := random.Layer(333<<20, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("preloaded-%d:1", i))
		pushLayers(t, registry, names[i], one)
	}
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	name := e2e.NewFleet(t, api)
	cached := fmt.Sprintf("cache: {size: 4GiB, upstreams: {docker.io: %q}", registry)
	with, without := cached+", preload: ["+strings.Join(names, ", ")+"]}\n", cached+"}\n"
	run := func(settings, script string) (took float64, out string) {
		e2e.WriteFile(t, "runnerctl.yaml", settings)
		started := time.Now()
		out = e2e.Must(t, "run", "--fleet", name, "--root", "--", "sh", "-euc", script)
		return time.Since(started).Seconds(), out
	}
	e2e.WriteFile(t, "runnerctl.yaml", with)
	e2e.Must(t, e2e.Up(name)...) // makes the volume
	const uses = `ms() { echo $(($(date +%s%N) / 1000000)); }
		du -sk --exclude=volumes /var/lib/docker | cut -f 1
		for use in 1 2; do began=$(ms); docker run --rm --pull never preloaded-1:1 true; echo $(($(ms) - began)); done`
	var longer, first, second []float64
	var size float64
	for range 5 {
		plain, _ := run(without, "true")
		preloaded, _ := run(with, "true")
		longer = append(longer, preloaded-plain)
		_, out := run(with, uses)
		var one, next float64
		if _, err := fmt.Sscan(out, &size, &one, &next); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		first, second = append(first, one), append(second, next)
	}
	more, ratio := median(longer), median(first)/median(second)
	figure("three preloaded images (1 GB): start %.2f s longer, data of %.0f KiB, first docker run %.2f × the second", more, size, ratio)
	if more > 0.3 {
		t.Errorf("a start takes %.2f s longer, want 0.1 s", more)
	}
	if size >= 2<<10 {
		t.Errorf("dockerd's data has %.0f KiB, want less than 2 MiB", size)
	}
	if ratio > 1.1 {
		t.Errorf("the first docker run takes %.0f ms and the second %.0f ms: %.2f, want 1.1 at most", median(first), median(second), ratio)
	}
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
