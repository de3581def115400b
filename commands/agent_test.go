//go:build linux

package commands

import (
	"archive/tar"
	"compress/gzip"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

//go:embed testdata/Runner.Listener
var listener []byte

// agentArchive packs the stand-in listener like a release, the same each time.
func agentArchive(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "actions-runner-linux-x64-2.330.0.tar.gz")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	packed := gzip.NewWriter(file)
	out := tar.NewWriter(packed)
	header := &tar.Header{Name: "bin/Runner.Listener", Mode: 0o755, Size: int64(len(listener)), ModTime: time.Unix(1e9, 0)}
	if err := out.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(listener); err != nil {
		t.Fatal(err)
	}
	for _, one := range []interface{ Close() error }{out, packed} {
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// agentFleet is a fleet of this test whose image holds the stand-in listener.
type agentFleet struct {
	engine *dockerx.Engine
	api    *client.Client
	spec   fleet.Spec
	t      *testing.T
}

func newAgentFleet(t *testing.T, change func(*config.Config)) *agentFleet {
	api := realEngine(t)
	loaded := config.Default()
	loaded.Name = newFleet(t, api)
	loaded.Dir = "."
	loaded.Image.Agent.Archive = agentArchive(t)
	if change != nil {
		change(&loaded)
	}
	d := deps{env: os.Getenv, goos: "linux"}
	d.streams.Err = t.Output()
	engine, endpoint, err := connect(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	tag, id, _, err := ensureImage(t.Context(), d, engine, buildOptions{config: loaded, bootstrapBase: true, progress: "plain"})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := specOf(t.Context(), engine, loaded, tag, id, gatherFacts(t.Context(), d, engine, endpoint, loaded))
	if err != nil {
		t.Fatal(err)
	}
	return &agentFleet{engine: engine, api: api, spec: spec, t: t}
}

// jitConfig is a JIT configuration as GitHub makes them, but for what the
// stand-in is to do.
func jitConfig(t *testing.T, script string) secret.Text {
	t.Helper()
	encode := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(text)
	}
	return secret.New(encode(map[string]string{
		".runner":                encode(map[string]string{"AgentName": "x", "Script": script}),
		".credentials":           encode(map[string]any{"Scheme": "OAuth", "Data": map[string]string{"ClientId": "client-0123"}}),
		".credentials_rsaparams": encode(map[string]string{"d": "the-key-itself-4567"}),
	}))
}

func (f *agentFleet) create(agent fleet.Agent, credential secret.Text) fleet.Runner {
	f.t.Helper()
	spec := f.spec
	spec.Agent = agent
	runner, err := f.engine.Create(f.t.Context(), newName(spec.Fleet, map[string]bool{}), spec, credential)
	if err != nil {
		f.t.Fatal(err)
	}
	return runner
}

// ended waits for a runner's end and returns its exit code and its log.
func (f *agentFleet) ended(runner fleet.Runner) (code int, log string) {
	f.t.Helper()
	eventually(f.t, time.Minute, "the runner ends", func() bool {
		info, err := f.api.ContainerInspect(f.t.Context(), runner.ContainerID)
		if err != nil {
			f.t.Fatal(err)
		}
		code = info.State.ExitCode
		return info.State.Status == "exited"
	})
	return code, containerLog(f.t, f.api, runner.ContainerID)
}

func (f *agentFleet) ready(runner fleet.Runner) {
	f.t.Helper()
	if _, err := f.engine.WaitReady(f.t.Context(), runner); err != nil {
		f.t.Fatalf("%v\n%s", err, containerLog(f.t, f.api, runner.ContainerID))
	}
}

var jitAgent = fleet.Agent{Mode: fleet.JIT, URL: "https://github.com/acme/api", Labels: []string{"gpu"}, Group: "Default"}

// One job: the agent finds its files and a clean environment, and the runner ends
// with its verdict.
func TestAgentByJIT(t *testing.T) {
	f := newAgentFleet(t, nil)
	for want, script := range map[int]string{0: "echo one job done", 7: "exit 7"} {
		runner := f.create(jitAgent, jitConfig(t, script))
		code, log := f.ended(runner)
		if code != want || !strings.Contains(log, "agent: Listening for Jobs, descriptors 0 1 2 3\n") || !strings.Contains(log, fmt.Sprintf("agent: ended with code %d\n", want)) {
			t.Errorf("code %d, want %d:\n%s", code, want, log)
		}
		if want == 0 && !strings.Contains(log, "agent: one job done\n") {
			t.Error(log)
		}
	}
}

// A stop: the agent goes first, a job that runs is waited for, and so long the
// daemon answers.
func TestAgentIsStoppedFirst(t *testing.T) {
	f := newAgentFleet(t, nil)
	idle := f.create(jitAgent, jitConfig(t, `trap 'echo stopped; exit 0' TERM; while :; do read -rt 1 <> <(:) || true; done`))
	f.ready(idle)
	begun := time.Now()
	if err := f.api.ContainerStop(t.Context(), idle.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, log := f.ended(idle); code != 0 || !strings.Contains(log, "agent: stopped\n") || time.Since(begun) > 10*time.Second {
		t.Errorf("idle: code %d after %s:\n%s", code, time.Since(begun), log)
	}

	busy := f.create(jitAgent, jitConfig(t, `trap 'echo stopped; exit 1' TERM; echo job begins
		bash -c 'sleep 6; curl -fsS --unix-socket /run/docker.sock http://docker/_ping && echo " from the daemon"'; sleep 0.5 & wait $!; echo never`))
	f.ready(busy)
	if err := f.api.ContainerStop(t.Context(), busy.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, log := f.ended(busy); code != 1 || !strings.Contains(log, "agent: OK from the daemon\n") {
		t.Errorf("busy: code %d:\n%s", code, log)
	}
}
