//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/secret"
	"github.com/runnerctl/runnerctl/internal/session"
)

//go:embed testdata/Runner.Listener
var listenerScript []byte

// AgentArchive packs the stand-in listener like a release, with the same bytes each time.
func AgentArchive(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "actions-runner-linux-x64-2.330.0.tar.gz")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	packed := gzip.NewWriter(file)
	out := tar.NewWriter(packed)
	header := &tar.Header{Name: "bin/Runner.Listener", Mode: 0o755, Size: int64(len(listenerScript)), ModTime: time.Unix(1e9, 0)}
	if err := out.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(listenerScript); err != nil {
		t.Fatal(err)
	}
	for _, one := range []interface{ Close() error }{out, packed} {
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// AgentFleet is a fleet of one test. Its image holds the stand-in listener.
type AgentFleet struct {
	Engine *dockerx.Engine
	API    *client.Client
	Spec   fleet.Spec
	t      *testing.T
}

// NewAgentFleet builds the image of a fleet. A change applies to its settings.
func NewAgentFleet(t *testing.T, change func(*config.Config)) *AgentFleet {
	api := Engine(t)
	loaded := config.Default()
	loaded.Name = NewFleet(t, api)
	loaded.Dir = "."
	loaded.Image.Agent.Archive = AgentArchive(t)
	if change != nil {
		change(&loaded)
	}
	s := session.Session{Env: os.Getenv, GOOS: "linux"}
	s.Streams.Err = t.Output()
	engine, endpoint, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	of := lifecycle.Fleet{Settings: loaded, Build: lifecycle.Build{BootstrapBase: true, Progress: "plain"}}
	made, err := of.EnsureImage(t.Context(), s, engine)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := lifecycle.Host{Session: s, Fleet: of, Engine: engine, Env: s.Facts(engine, endpoint, loaded).Env(t.Context(), facts.ForUp)}.Spec(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	return &AgentFleet{Engine: engine, API: api, Spec: spec, t: t}
}

// JITConfig returns a JIT configuration as GitHub makes them, plus the script that the
// stand-in runs.
func JITConfig(t *testing.T, script string) secret.Text {
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

// Create creates a runner and removes it at the end of the test.
func (f *AgentFleet) Create(agent fleet.Agent, credential secret.Text) fleet.Runner {
	f.t.Helper()
	spec := f.Spec
	spec.Agent = agent
	runner, err := f.Engine.Create(f.t.Context(), fleet.NewName(spec.Fleet, map[string]bool{}), spec, fleet.Usual, credential)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { // down would ask GitHub, which does not know this runner
		if err := f.Engine.Remove(context.Background(), runner); err != nil {
			f.t.Error(err)
		}
	})
	return runner
}

// Ended waits until a runner ends and returns its exit code and its log.
func (f *AgentFleet) Ended(runner fleet.Runner) (code int, log string) {
	f.t.Helper()
	Eventually(f.t, 2*time.Minute, "the runner ends", func() bool {
		info, err := f.API.ContainerInspect(f.t.Context(), runner.ContainerID)
		if err != nil {
			f.t.Fatal(err)
		}
		code = info.State.ExitCode
		return info.State.Status == "exited"
	})
	return code, ContainerLog(f.t, f.API, runner.ContainerID)
}

// Ready waits until a runner is ready.
func (f *AgentFleet) Ready(runner fleet.Runner) {
	f.t.Helper()
	if _, err := f.Engine.WaitReady(f.t.Context(), runner); err != nil {
		f.t.Fatalf("%v\n%s", err, ContainerLog(f.t, f.API, runner.ContainerID))
	}
}

// JITAgent is the agent of a runner that starts with a JIT configuration.
var JITAgent = fleet.Agent{Mode: fleet.JIT, URL: "https://github.com/acme/api", Labels: []string{"gpu"}, Group: "Default"}

// Everywhere returns all that the host can read of a runner without entering it, and all that
// its jobs can read of other processes.
func (f *AgentFleet) Everywhere(runner fleet.Runner) string {
	f.t.Helper()
	info, err := f.API.ContainerInspect(f.t.Context(), runner.ContainerID)
	if err != nil {
		f.t.Fatal(err)
	}
	inspected, err := json.Marshal(info)
	if err != nil {
		f.t.Fatal(err)
	}
	text := string(inspected) + ContainerLog(f.t, f.API, runner.ContainerID)
	for _, path := range ProcessesOf(f.t, []string{runner.ContainerID}) {
		for _, file := range []string{"environ", "cmdline"} {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(path), file))
			if err == nil { // otherwise the process has ended
				text += string(content)
			}
		}
	}
	return text
}

// StartSupervisor starts the fleet's supervisor.
func (f *AgentFleet) StartSupervisor(t *testing.T, options dockerx.SupervisorOptions, credential string) {
	t.Helper()
	if err := f.Engine.StartSupervisor(t.Context(), options, secret.New(credential)); err != nil {
		t.Fatal(err)
	}
}

// SupervisorLog returns everything that the fleet's supervisor wrote.
func (f *AgentFleet) SupervisorLog(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if err := f.Engine.SupervisorLog(t.Context(), f.Spec.Fleet, dockerx.LogOptions{Tail: -1}, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
