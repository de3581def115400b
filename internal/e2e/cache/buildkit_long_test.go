//go:build linux && long

package cache

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/buildxtest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// builderImage returns an archive of an image with BuildKit, runnerctl-test/buildkit:1.
func builderImage(t *testing.T, api *client.Client) (archive string) {
	t.Helper()
	const tag = "runnerctl-test/buildkit:1"
	programs := buildxtest.BuildKit(t)
	files := dockerx.Context{"Dockerfile": []byte("FROM debian:trixie-slim\nRUN apt-get update -qq && apt-get install -y -qq --no-install-recommends runc ca-certificates >/dev/null\nCOPY buildkitd buildctl /usr/local/bin/\nENTRYPOINT [\"buildkitd\"]\n")}
	for _, name := range []string{"buildkitd", "buildctl"} {
		text, err := os.ReadFile(filepath.Join(programs, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	t.Cleanup(func() { e2e.RemoveImage(t, api, tag) })
	if err := engine.Build(t.Context(), files, dockerx.BuildOptions{Tag: tag, Progress: "quiet", Out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	saved, err := api.ImageSave(t.Context(), []string{tag})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = saved.Close() }()
	archive = filepath.Join(t.TempDir(), "buildkit.tar")
	file, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := io.Copy(file, saved); err != nil {
		t.Fatal(err)
	}
	return archive
}

// A builder in a container saves its layers to the cache of the host, and another runner's builder
// takes them from there. Both take the base image from the mirror.
func TestBuildKitCache(t *testing.T) {
	api := e2e.Engine(t)
	hub := newUpstream(t, e2e.ImageMirror(t, api))
	program, _ := buildxtest.Program(t)
	f := start(t, fmt.Sprintf(", upstreams: {docker.io: %q}", hub.URL), fmt.Sprintf(", buildx: {archive: %s}", program))
	cold, warm := buildTwice(t, f, `docker load --quiet --input ~/buildkit.tar
docker buildx create --name b --driver docker-container --driver-opt image=runnerctl-test/buildkit:1 --use --bootstrap
`, builderImage(t, api))
	figure("build of ten steps in a new runner: %.1f s with the cache, %.2f × without", warm, warm/cold)
	if warm > 0.25*cold {
		t.Errorf("a build takes %.1f s with the cache and %.1f s without: %.2f, want 0.25 at most", warm, cold, warm/cold)
	}
	for path, count := range hub.downloads() {
		if count != 1 {
			t.Errorf("%s was downloaded %d times, want once", path, count)
		}
	}
}

// The default builder does the same if its Docker is new enough and has containerd's store.
func TestCacheOfTheDefaultBuilder(t *testing.T) {
	api := e2e.Engine(t)
	hub := newUpstream(t, e2e.ImageMirror(t, api))
	program, _ := buildxtest.Program(t)
	base := e2e.MakeBase(t, api, "sid")
	f := start(t, fmt.Sprintf(", upstreams: {docker.io: %q}", hub.URL), fmt.Sprintf(", base: %s, buildx: {archive: %s}", base, program),
		"runners: {dockerd: {features: {containerd-snapshotter: true}}}")
	buildTwice(t, f, "")
}

// buildTwice builds an image of ten steps in two runners, after a script in each, and returns the
// seconds that each build took. The second one must find the layers of the first one in the cache.
func buildTwice(t *testing.T, f *fixture, prepare string, files ...string) (cold, warm float64) {
	t.Helper()
	const build = `{ echo FROM busybox:1; for step in $(seq 10); do echo "RUN head -c 20000000 /dev/urandom >/blob-$step && sha256sum /blob-*"; done; } >Dockerfile
export ACTIONS_CACHE_SERVICE_V2=true
began=$(date +%s%N)
docker buildx build --progress plain --cache-from type=gha --cache-to type=gha,mode=max . 2>&1
echo "built in $((($(date +%s%N) - began) / 1000000)) ms"`
	run := func() ghsim.Result {
		return f.run("", "true", map[string]string{"operation": "run", "command": prepare + build}, files...)
	}
	first, second := run(), run()
	if first.Conclusion != "success" || strings.Contains(first.Log, " CACHED") {
		t.Errorf("first build: %s, want success without cached steps\n%s", first.Conclusion, first.Log)
	}
	if second.Conclusion != "success" || !strings.Contains(second.Log, " CACHED") {
		t.Errorf("second build: %s, want success with a cached step\n%s", second.Conclusion, second.Log)
	}
	return buildTime(t, first.Log), buildTime(t, second.Log)
}

var built = regexp.MustCompile(`built in (\d+) ms`)

// buildTime returns the seconds that a build took.
func buildTime(t *testing.T, log string) float64 {
	t.Helper()
	found := built.FindStringSubmatch(log)
	if found == nil {
		t.Fatalf("no build in\n%s", log)
	}
	milliseconds, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return float64(milliseconds) / 1000
}
