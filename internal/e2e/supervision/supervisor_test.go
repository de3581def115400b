//go:build linux

package supervision

import (
	"context"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/supervisor"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// supervisedFleet returns the host of a fleet whose settings are in the working folder, and
// the Desired that up would save.
func supervisedFleet(t *testing.T, name string) (lifecycle.Host, fleet.Desired) {
	t.Helper()
	s := session.Session{Env: os.Getenv, GOOS: "linux"}
	s.Streams.Err = t.Output()
	loaded, err := config.Load(config.DefaultFile)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Name = name
	of := lifecycle.Fleet{Settings: loaded, Ready: time.Minute, Theme: ui.NewTheme("never", false, s.Env), Build: lifecycle.Build{BootstrapBase: true, Progress: "quiet"}}
	found, err := of.Find(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { found.Engine.Close() })
	made, err := of.EnsureImage(t.Context(), s, found.Engine)
	if err != nil {
		t.Fatal(err)
	}
	desired, err := found.Desired(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	return found, desired
}

// leaveSupervisor hands the fleet to a supervisor in the background, as up does.
func leaveSupervisor(t *testing.T, found lifecycle.Host, desired fleet.Desired, output supervisor.Output) {
	t.Helper()
	unlock, err := lifecycle.Lock(t.Context(), found.Session, found.Engine, desired.Spec.Fleet, desired.Spec.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	place := supervisor.Place{Engine: found.Engine, Endpoint: found.Endpoint, Target: found.Target}
	container, err := place.NewContainer(t.Context(), found.Session, found.Settings, e2e.Program(t), output)
	if err == nil {
		err = place.Start(t.Context(), container, desired)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waiting counts the fleet's spares.
func waiting(t *testing.T, engine *dockerx.Engine, name string) (count int) {
	t.Helper()
	runners, err := engine.Runners(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, runner := range runners {
		if runner.Waiting {
			count++
		}
	}
	return count
}

func get(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// killSupervisor kills the supervisor's process on the host, because the engine would count
// docker kill as a stop.
func killSupervisor(t *testing.T, api *client.Client, id string) {
	t.Helper()
	info, err := api.ContainerInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(info.State.Pid)
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A supervisor keeps a fleet: first as a process in the foreground, then as a container that
// takes over its runners and is started again when it dies.
func TestSupervisors(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {count: 2, spares: 1}")
	found, desired := supervisedFleet(t, name)
	engine := found.Engine
	t.Cleanup(func() { // before down
		if err := engine.StopSupervisor(context.Background(), name); err != nil {
			t.Error(err)
		}
		if err := engine.RemoveState(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if desired.Count != 2 || desired.Spares != 1 || desired.Agent != "" || desired.Spec.Agent.Mode != fleet.JIT {
		t.Fatalf("desired state: %+v, want 2 runners and 1 spare with JIT configurations, and no agent", desired)
	}
	e2e.Step(t, "in the foreground it keeps the fleet until it is interrupted", func(t *testing.T) { supervisedInTheForeground(t, github, engine, name) })
	before := e2e.Registered(github)
	if len(before) != 2 {
		t.Errorf("GitHub lists %v, want 2 runners", before)
	}

	address := e2e.FreeAddress(t)
	leave := func(t *testing.T) {
		t.Helper()
		leaveSupervisor(t, found, desired, supervisor.Output{Format: "json", Metrics: address})
	}
	leave(t)
	container, err := engine.Supervisor(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e2e.RemoveImage(t, api, container.Image) })
	events := func(t *testing.T) string { return e2e.Must(t, "events", "--fleet", name) }
	e2e.Step(t, "in a container it adopts the runners", func(t *testing.T) {
		e2e.Eventually(t, time.Minute, "the container's supervisor begins", func() bool { return strings.Count(events(t), "  began: 2 wanted and 1 spare") == 2 })
		if after := e2e.Registered(github); !slices.Equal(after, before) {
			t.Errorf("runners: %v, want %v", after, before)
		}
	})
	e2e.Step(t, "it records each job", func(t *testing.T) {
		had := e2e.RunJobs(t, github, 3)
		e2e.AwaitOnline(t, github, 2, had...)
		for _, runner := range had {
			jobIsRecorded(t, github, engine.State(name), runner)
		}
	})
	t.Run("it shows its health and metrics", func(t *testing.T) { showsMetrics(t, address, name) })
	e2e.Step(t, "after a kill it comes back and takes another desired state", func(t *testing.T) {
		killSupervisor(t, api, container.ContainerID)
		e2e.Eventually(t, time.Minute, "the supervisor is back", func() bool { return strings.Count(events(t), "  began: ") == 3 })
		desired.Count = 3
		leave(t)
		e2e.AwaitOnline(t, github, 3)
		if again, err := engine.Supervisor(t.Context(), name); err != nil || again.ContainerID != container.ContainerID || again.Restarts != 1 {
			t.Errorf("got %+v, %v, want container %s, restarted once", again, err, container.ContainerID)
		}
	})
	t.Run("its last event is its end", func(t *testing.T) {
		if err := engine.StopSupervisor(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if text, want := events(t), "  supervisor  ended; its runners stay\n"; !strings.HasSuffix(text, want) {
			t.Errorf("events:\n%s\nwant %q at the end", text, want)
		}
	})
}

// supervisedInTheForeground runs a supervisor as a process until two runners had a job.
func supervisedInTheForeground(t *testing.T, github *ghsim.Server, engine *dockerx.Engine, name string) {
	ctx, cancel := context.WithCancelCause(t.Context())
	type outcome struct {
		code   int
		stderr string
	}
	ended := make(chan outcome, 1)
	go func() {
		code, _, stderr := e2e.Runnerctl(ctx, "supervise", "--fleet", name, "--bootstrap-base", "--progress", "quiet", "--log-format", "json", "--metrics-address", e2e.FreeAddress(t))
		ended <- outcome{code, stderr}
	}()
	e2e.AwaitOnline(t, github, 2)
	if code, _, stderr := e2e.Runnerctl(t.Context(), "supervise", "--fleet", name); code != commands.ExitFailure || !strings.Contains(stderr, "has a supervisor in the foreground") {
		t.Errorf("a second one: exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "has a supervisor in the foreground")
	}
	e2e.AwaitOnline(t, github, 2, e2e.RunJobs(t, github, 2)...)
	e2e.Eventually(t, time.Minute, "a spare waits", func() bool { return waiting(t, engine, name) == 1 })
	e2e.Eventually(t, time.Minute, "the first two and the two after them are known to be online", func() bool {
		return strings.Count(e2e.Must(t, "events", "--fleet", name), "  online      ") >= 4
	})
	cancel(commands.ErrInterrupted)
	first := <-ended
	if first.code != commands.ExitInterrupted || !strings.Contains(first.stderr, `"msg":"ended; its runners stay"`) {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", first.code, commands.ExitInterrupted, first.stderr, `"msg":"ended; its runners stay"`)
	}
}

// jobIsRecorded waits for the record of a runner that had a job.
func jobIsRecorded(t *testing.T, github *ghsim.Server, state *dockerx.State, runner string) {
	t.Helper()
	e2e.Eventually(t, 20*time.Second, "the record of "+runner, func() bool {
		record, err := state.Record(t.Context(), runner)
		if err != nil {
			t.Fatal(err)
		}
		return record != nil && record.Job == "build" && record.Conclusion == "success" && strings.HasPrefix(record.JobURL, github.URL+"/acme/api/actions/runs/") && len(record.Log) > 0
	})
}

// showsMetrics asks a supervisor after three jobs for its health and its metrics.
func showsMetrics(t *testing.T, address, name string) {
	if health := get(t, "http://"+address+"/healthz"); health != "ok\n" {
		t.Errorf("healthz: %q, want %q", health, "ok\n")
	}
	var text string
	label := `{fleet="` + name + `"`
	// The last reconciliation may still count a runner that ended, and a job counts once its runner is removed,
	// which is after its record.
	for _, want := range []string{`runnerctl_runners` + label + `,state="idle"} 2`, `runnerctl_jobs_total{conclusion="success",fleet="` + name + `"} 3`} {
		e2e.Eventually(t, 20*time.Second, want, func() bool {
			text = get(t, "http://"+address+"/metrics")
			return strings.Contains(text, want+"\n")
		})
	}
	if want := `runnerctl_github_calls_total` + label + `,method="POST",status="201"}`; !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
	if resident := regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`).FindStringSubmatch(text); resident == nil {
		t.Errorf("no process_resident_memory_bytes in\n%s", text)
	} else if size, err := strconv.ParseFloat(resident[1], 64); err != nil || size > 60<<20 {
		t.Errorf("it takes %s bytes, %v, want at most %d", resident[1], err, 60<<20)
	} else {
		t.Logf("%.1f MiB", size/(1<<20))
	}
}
