//go:build linux && long

package supervision

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// offer makes the stand-in offer the test agent under a version. Each version has a different
// archive with the same contents.
func offer(t *testing.T, github *ghsim.Server, version string) (remove func()) {
	t.Helper()
	archive, err := os.ReadFile(agenttest.Archive(t))
	if err != nil {
		t.Fatal(err)
	}
	// A gzip member may be empty except for its name.
	var last bytes.Buffer
	member := gzip.NewWriter(&last)
	member.Name = version
	if err := member.Close(); err != nil {
		t.Fatal(err)
	}
	archive = append(archive, last.Bytes()...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(archive) }))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(archive)
	var all []map[string]string
	for _, arch := range []string{"x64", "arm64"} {
		file := "actions-runner-linux-" + arch + "-" + version + ".tar.gz"
		all = append(all, map[string]string{"os": "linux", "architecture": arch, "filename": file, "download_url": server.URL + "/" + file, "sha256_checksum": hex.EncodeToString(sum[:])})
	}
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return github.Inject(ghsim.Fault{Match: "GET /repos/acme/api/actions/runners/downloads", Status: http.StatusOK, Body: string(body)})
}

// The supervisor's container rebuilds the image, with its hooks, when GitHub will soon refuse
// its agent. It then rolls the fleet: idle runners first, a busy one after its job.
func TestTheContainerRenewsTheImage(t *testing.T) {
	const count, old = 2, "2.328.0"
	api := e2e.Engine(t)
	github := e2e.StartGitHub(t, ghsim.Options{RunnerAddress: e2e.BridgeAddress(t) + ":0"})
	name := e2e.NewFleet(t, api)
	e2e.WriteSettings(t, github, "acme/api", fmt.Sprintf("runners: {count: %d}", count))
	if err := os.MkdirAll("hooks/job-started.d", 0o755); err != nil {
		t.Fatal(err)
	}
	e2e.WriteFile(t, "hooks/job-started.d/10-note", "#!/bin/sh\necho the hook was here\n")
	withdraw := offer(t, github, old)
	young := github.Inject(ghsim.Fault{Match: "GET /repos/acme/api/actions/runners/deprecations/" + old, Status: http.StatusOK, Body: `{"runtime_deprecates_at":null,"registration_deprecates_at":null}`})
	s := supervise(t, api, github, name)
	t.Cleanup(func() { e2e.RemoveImage(t, api, s.desired.Spec.Image) })
	e2e.AwaitOnline(t, github, count)
	before := e2e.Registered(github)
	if s.desired.Agent != old {
		t.Fatalf("got %+v, want agent %s", s.desired, old)
	}
	job := e2e.QueueAndStart(t, github, untilGo)
	busy, _ := github.Result(job)

	// The image is due now: the next supervisor checks it when it begins.
	withdraw()
	offer(t, github, ghsim.AgentVersion)
	young()
	found, err := s.engine.Supervisor(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	killSupervisor(t, api, found.ContainerID)
	e2e.Eventually(t, 5*time.Minute, "the image is rebuilt", func() bool {
		events := e2e.Must(t, "events", "--fleet", name)
		if strings.Contains(events, "could not be rebuilt") || strings.Contains(events, "no newer one") {
			t.Fatalf("events:\n%s\nwant no failure, and a newer agent", events)
		}
		return strings.Contains(events, "runners follow one by one: GitHub no longer accepts its agent "+old+" from ")
	})
	desired, err := s.engine.State(name).Desired(t.Context())
	if err != nil || desired.Agent != ghsim.AgentVersion || desired.Spec.ImageID == s.desired.Spec.ImageID {
		t.Fatalf("got %+v, %v, want agent %s and another image", desired, err, ghsim.AgentVersion)
	}
	t.Cleanup(func() { e2e.RemoveImage(t, api, desired.Spec.Image) })
	e2e.Eventually(t, 2*time.Minute, "the idle one is of the new image, the busy one stays", func() bool {
		fresh, stays := 0, false
		for _, runner := range s.known() {
			stays = stays || runner.Name == busy.Runner
			if runner.ImageID == desired.Spec.ImageID && runner.State == "running" {
				fresh++
			}
		}
		return fresh == count-1 && stays && len(s.known()) == count
	})
	e2e.Must(t, "exec", busy.Runner, "--", "touch", "go")
	if result := e2e.AwaitJob(t, github, job); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	e2e.AwaitOnline(t, github, count, before...)
	next := e2e.AwaitJob(t, github, e2e.Queue(t, github, "true"))
	if next.Conclusion != "success" || !strings.Contains(next.Log, "the hook was here") {
		t.Errorf("got %+v, want success and the hook", next)
	}
	// up has nothing to add: it makes the same image from the same settings.
	if tag := strings.TrimSpace(e2e.Must(t, "build", "--progress", "quiet")); tag != desired.Spec.Image {
		t.Errorf("up would make %s, want the supervisor's %s", tag, desired.Spec.Image)
	}
	s.down()
}
