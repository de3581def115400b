//go:build linux

package commands

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// supervised lets up leave supervisors behind, as it does by default.
func supervised(t *testing.T) {
	t.Helper()
	if err := os.Unsetenv("RUNNERCTL_NO_SUPERVISOR"); err != nil { // startGitHub sets it, and its end restores it
		t.Fatal(err)
	}
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", ownBinary(t))
	t.Setenv("RUNNERCTL_METRICS_ADDRESS", freeAddress(t))
}

// supervisorOf returns a fleet's supervisor and removes its image after the test.
func supervisorOf(t *testing.T, api *client.Client, name string) dockerx.SupervisorState {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	found, err := engine.Supervisor(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if found.Image != "" {
		t.Cleanup(func() { removeImage(t, api, found.Image) })
	}
	return found
}

// up leaves a supervisor that refills the fleet, reports runners that are gone, takes a
// changed desired state, and is removed without a trace.
func TestUpLeavesASupervisor(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api", "runners: {count: 2, spares: 1}")
	supervised(t)
	plan := func(t *testing.T, args ...string) string {
		t.Helper()
		return must(t, append(up(name, args...), "--dry-run")...)
	}

	t.Run("the plan names the supervisor", func(t *testing.T) {
		if plan, want := plan(t), "start   a supervisor  (2 wanted and 1 spare, of "; !strings.Contains(plan, want) {
			t.Errorf("plan:\n%s\nwant %q", plan, want)
		}
	})
	must(t, up(name)...)
	first := supervisorOf(t, api, name)
	if !first.Running || first.Foreground || len(registered(github)) != 2 {
		t.Fatalf("got %+v, registered: %v, want a supervisor that runs in the background, and 2 runners", first, registered(github))
	}
	t.Run("a plan of the same wish has nothing new", func(t *testing.T) {
		if plan, want := plan(t), "update  the supervisor  (nothing new: 2 wanted and 1 spare, of "; !strings.HasPrefix(plan, want) {
			t.Errorf("plan:\n%s\nwant %q at the beginning", plan, want)
		}
	})

	had := jobs(t, github, 1)[0]
	step(t, "a runner that had its job is replaced and remembered", func(t *testing.T) {
		online(t, github, 2, had)
		runnerIsRemembered(t, github, name, had)
	})
	step(t, "the supervisor takes another wish", func(t *testing.T) {
		if plan := plan(t, "--count", "1"); !strings.HasPrefix(plan, "update  the supervisor  (1 wanted and 1 spare, of ") || !strings.Contains(plan, "; so far 2 wanted and 1 spare") {
			t.Errorf("plan:\n%s\nwant 1 wanted and 1 spare, so far 2 wanted and 1 spare", plan)
		}
		must(t, up(name, "--count", "1")...)
		if left := github.Runners(); len(left) != 1 || !left[0].Online {
			t.Errorf("runners: %+v, want one, online", left)
		}
	})
	if again := supervisorOf(t, api, name); again.ContainerID != first.ContainerID {
		t.Errorf("supervisor: %+v, want container %s", again, first.ContainerID)
	}

	step(t, "after a stop by hand, ps reports it, and up brings it back", func(t *testing.T) {
		if err := api.ContainerStop(t.Context(), first.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		want := "the supervisor of fleet " + name + " is not running: it is stopped, exit code 0; run runnerctl up to restart it\n"
		if _, _, stderr := runnerctl(t.Context(), "ps", "--fleet", name); !strings.Contains(stderr, want) {
			t.Errorf("ps: %q, want %q", stderr, want)
		}
		must(t, up(name, "--count", "2")...)
		if _, _, stderr := runnerctl(t.Context(), "ps", "--fleet", name); stderr != "" {
			t.Errorf("ps: %q, want nothing", stderr)
		}
	})
	step(t, "without a supervisor, the runners and the remembered state stay", func(t *testing.T) {
		before := registered(github)
		must(t, up(name, "--count", "2", "--no-supervisor")...)
		if after := registered(github); !slices.Equal(after, before) {
			t.Errorf("registered: %v, want %v", after, before)
		}
		if gone := supervisorOf(t, api, name); gone.ContainerID != "" {
			t.Errorf("supervisor: %+v, want none", gone)
		}
		must(t, "inspect", had)
		must(t, up(name, "--count", "2")...)
	})
	t.Run("down removes all of it", func(t *testing.T) {
		if plan := must(t, "down", "--fleet", name, "--dry-run"); strings.Count(plan, "remove  runnerctl-") != 3 {
			t.Errorf("plan:\n%s\nwant 3 lines of %q", plan, "remove  runnerctl-")
		}
		must(t, "down", "--fleet", name)
		if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
			t.Errorf("left: %v, registered: %v, want nothing", left, registered(github))
		}
	})
}

// runnerIsRemembered waits until a runner that had a job is gone, and checks that inspect and
// logs still show it.
func runnerIsRemembered(t *testing.T, github *ghsim.Server, name, had string) {
	eventually(t, 30*time.Second, "it is gone, and remembered", func() bool {
		return strings.Contains(must(t, "inspect", had), "state        gone\n")
	})
	var record fleet.Record
	if err := json.Unmarshal([]byte(must(t, "inspect", "-o", "json", had)), &record); err != nil {
		t.Fatal(err)
	}
	if record.Name != had || record.Job != "build" || record.Conclusion != "success" || !strings.HasPrefix(record.JobURL, github.URL+"/acme/api/actions/runs/") || record.ExitCode != 0 || record.Finished.IsZero() {
		t.Errorf("got %+v, want %s with the job build, success, a page of acme/api, exit code 0, and an end", record, had)
	}
	for _, want := range []string{"conclusion   success\n", "page         " + record.JobURL + "\n", "exit code 0: done", "last words\n"} {
		if told := must(t, "inspect", had); !strings.Contains(told, want) {
			t.Errorf("no %q in\n%s", want, told)
		}
	}
	if told := must(t, "logs", had, "--source", "agent", "--tail", "3"); strings.Count(told, "\n") != 3 || !strings.Contains(told, "Job build completed with result: Succeeded") {
		t.Errorf("log:\n%s\nwant 3 lines, with %q", told, "Job build completed with result: Succeeded")
	}
	if code, _, stderr := runnerctl(t.Context(), "logs", name+"-2222"); code != exitFailure || !strings.Contains(stderr, "no runner named") {
		t.Errorf("logs of an unknown runner: exit code %d, want %d; stderr:\n%s\nwant %q", code, exitFailure, stderr, "no runner named")
	}
}

// With --attach, the supervisor's log is shown, and Ctrl-C takes the fleet down.
func TestUpAttached(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	supervised(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	type outcome struct {
		code           int
		stdout, stderr string
	}
	ended := make(chan outcome, 1)
	go func() {
		code, stdout, stderr := runnerctl(ctx, up(name, "--attach")...)
		ended <- outcome{code, stdout, stderr}
	}()
	eventually(t, 2*time.Minute, "the supervisor runs", func() bool {
		select {
		case early := <-ended:
			t.Fatalf("up ended early: %+v, want it attached", early)
		default:
		}
		return strings.Contains(must(t, "events", "--fleet", name), "  began: 1 wanted")
	})
	supervisorOf(t, api, name)
	online(t, github, 1, jobs(t, github, 1)...)
	// The runner that had the job is removed when its successor exists.
	eventually(t, 30*time.Second, "the job's end is told", func() bool {
		return strings.Contains(must(t, "events", "--fleet", name), "job build success")
	})
	cancel(errInterrupted)
	told := <-ended
	if told.code != exitInterrupted || !strings.Contains(told.stdout, "began: 1 wanted") || !strings.Contains(told.stdout, "job build success") || !strings.Contains(told.stderr, "runnerctl-supervisor-"+name+"   removed\n") {
		t.Errorf("got %+v, want exit code %d, the supervisor's begin and the job's end on stdout, and its removal on stderr", told, exitInterrupted)
	}
	if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v, want nothing", left, registered(github))
	}
}

// up checks that the supervisor's program exists before it makes anything.
func TestUpWithoutASupervisorsProgram(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	supervised(t)
	code, _, stderr := runnerctl(t.Context(), up(name, "--supervisor-binary", "/nosuch")...)
	if code != exitFailure || !strings.Contains(stderr, "--supervisor-binary: /nosuch: not a Linux program") || !strings.Contains(stderr, "make build") || !strings.Contains(stderr, "--no-supervisor") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant the missing program, make build and --no-supervisor", code, exitFailure, stderr)
	}
	if strings.Contains(stderr, "image ") || len(leftovers(t, api, name)) > 0 || len(github.Runners()) > 0 {
		t.Errorf("made: %v, registered: %v, want nothing; stderr:\n%s", leftovers(t, api, name), registered(github), stderr)
	}
}
