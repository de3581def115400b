//go:build linux

package lifecycle

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// up leaves a supervisor that refills the fleet, reports runners that are gone, takes a
// changed desired state, and is removed without a trace.
func TestUpLeavesASupervisor(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {count: 2, spares: 1}")
	e2e.Supervised(t)
	plan := func(t *testing.T, args ...string) string {
		t.Helper()
		return e2e.Must(t, append(e2e.Up(name, args...), "--dry-run")...)
	}

	t.Run("the plan names the supervisor", func(t *testing.T) {
		if plan, want := plan(t), "start   a supervisor  (2 wanted and 1 spare, of "; !strings.Contains(plan, want) {
			t.Errorf("plan:\n%s\nwant %q", plan, want)
		}
	})
	e2e.Must(t, e2e.Up(name)...)
	first := e2e.SupervisorOf(t, api, name)
	if !first.Running || first.Foreground || len(e2e.Registered(github)) != 2 {
		t.Fatalf("got %+v, registered: %v, want a supervisor that runs in the background, and 2 runners", first, e2e.Registered(github))
	}
	t.Run("a plan of the same desired state has nothing new", func(t *testing.T) {
		if plan, want := plan(t), "update  the supervisor  (nothing new: 2 wanted and 1 spare, of "; !strings.HasPrefix(plan, want) {
			t.Errorf("plan:\n%s\nwant %q at the beginning", plan, want)
		}
	})

	had := e2e.RunJobs(t, github, 1)[0]
	e2e.Step(t, "a runner that had its job is replaced and recorded", func(t *testing.T) {
		e2e.AwaitOnline(t, github, 2, had)
		runnerIsRemembered(t, github, name, had)
	})
	e2e.Step(t, "the supervisor takes another desired state", func(t *testing.T) {
		if plan := plan(t, "--count", "1"); !strings.HasPrefix(plan, "update  the supervisor  (1 wanted and 1 spare, of ") || !strings.Contains(plan, "; so far 2 wanted and 1 spare") {
			t.Errorf("plan:\n%s\nwant 1 wanted and 1 spare, so far 2 wanted and 1 spare", plan)
		}
		e2e.Must(t, e2e.Up(name, "--count", "1")...)
		if left := github.Runners(); len(left) != 1 || !left[0].Online {
			t.Errorf("runners: %+v, want one, online", left)
		}
	})
	if again := e2e.SupervisorOf(t, api, name); again.ContainerID != first.ContainerID {
		t.Errorf("supervisor: %+v, want container %s", again, first.ContainerID)
	}

	e2e.Step(t, "after a stop by hand, ps reports it, and up brings it back", func(t *testing.T) {
		if err := api.ContainerStop(t.Context(), first.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		want := "the supervisor of fleet " + name + " is not running: it is stopped, exit code 0; run runnerctl up to restart it\n"
		if _, _, stderr := e2e.Runnerctl(t.Context(), "ps", "--fleet", name); !strings.Contains(stderr, want) {
			t.Errorf("ps: %q, want %q", stderr, want)
		}
		e2e.Must(t, e2e.Up(name, "--count", "2")...)
		if _, _, stderr := e2e.Runnerctl(t.Context(), "ps", "--fleet", name); stderr != "" {
			t.Errorf("ps: %q, want nothing", stderr)
		}
	})
	e2e.Step(t, "without a supervisor, the runners and the recorded state stay", func(t *testing.T) {
		before := e2e.Registered(github)
		e2e.Must(t, e2e.Up(name, "--count", "2", "--no-supervisor")...)
		if after := e2e.Registered(github); !slices.Equal(after, before) {
			t.Errorf("registered: %v, want %v", after, before)
		}
		if gone := e2e.SupervisorOf(t, api, name); gone.ContainerID != "" {
			t.Errorf("supervisor: %+v, want none", gone)
		}
		e2e.Must(t, "inspect", had)
		e2e.Must(t, e2e.Up(name, "--count", "2")...)
	})
	t.Run("down removes all of it", func(t *testing.T) {
		if plan := e2e.Must(t, "down", "--fleet", name, "--dry-run"); strings.Count(plan, "remove  runnerctl-") != 3 {
			t.Errorf("plan:\n%s\nwant 3 lines of %q", plan, "remove  runnerctl-")
		}
		e2e.Must(t, "down", "--fleet", name)
		if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
			t.Errorf("left: %v, registered: %v, want nothing", left, e2e.Registered(github))
		}
	})
}

// prune may remove the supervisor's image in the moment before its container exists.
func TestUpImportsARemovedImageAgain(t *testing.T) {
	api, _, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {count: 1}")
	e2e.Supervised(t)
	// Other tests use the image of the program as it is, which is smaller.
	const more = 1 << 20
	program := e2e.ReadFile(e2e.Program(t)) + strings.Repeat(name, more/len(name))
	e2e.WriteFile(t, "program", program)
	if err := os.Chmod("program", 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", "program")
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	images, failed := api.Events(watching, events.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "image"), filters.Arg("event", "import"))})
	removed := make(chan error, 1)
	go func() {
		for {
			select {
			case err := <-failed:
				removed <- err
				return
			case message := <-images:
				made, err := api.ImageInspect(t.Context(), message.Actor.ID)
				if err != nil || made.Size < int64(len(program)) || !strings.HasPrefix(strings.Join(made.RepoTags, " "), "runnerctl/supervisor:") {
					continue
				}
				_, err = api.ImageRemove(t.Context(), made.ID, image.RemoveOptions{})
				removed <- err
				return
			}
		}
	}()
	e2e.Must(t, e2e.Up(name)...)
	stop()
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if found := e2e.SupervisorOf(t, api, name); !found.Running {
		t.Errorf("got %+v, want a supervisor that runs", found)
	}
}

// runnerIsRemembered waits until a runner that had a job is gone, and checks that inspect and
// logs still show it.
func runnerIsRemembered(t *testing.T, github *ghsim.Server, name, had string) {
	e2e.Eventually(t, 30*time.Second, "it is gone, and remembered", func() bool {
		return strings.Contains(e2e.Must(t, "inspect", had), "state        gone\n")
	})
	var record fleet.Record
	if err := json.Unmarshal([]byte(e2e.Must(t, "inspect", "-o", "json", had)), &record); err != nil {
		t.Fatal(err)
	}
	if record.Name != had || record.Job != "build" || record.Conclusion != "success" || !strings.HasPrefix(record.JobURL, github.URL+"/acme/api/actions/runs/") || record.ExitCode != 0 || record.Finished.IsZero() {
		t.Errorf("got %+v, want %s with the job build, success, a page of acme/api, exit code 0, and an end", record, had)
	}
	for _, want := range []string{"conclusion   success\n", "page         " + record.JobURL + "\n", "exit code 0: done", "last words\n"} {
		if shown := e2e.Must(t, "inspect", had); !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	if shown := e2e.Must(t, "logs", had, "--source", "agent", "--tail", "3"); strings.Count(shown, "\n") != 3 || !strings.Contains(shown, "Job build completed with result: Succeeded") {
		t.Errorf("log:\n%s\nwant 3 lines, with %q", shown, "Job build completed with result: Succeeded")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "logs", name+"-2222"); code != commands.ExitFailure || !strings.Contains(stderr, "no runner named") {
		t.Errorf("logs of an unknown runner: exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "no runner named")
	}
}

// With --attach, the supervisor's log is shown, and Ctrl-C takes the fleet down.
func TestUpAttached(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Supervised(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	type outcome struct {
		code           int
		stdout, stderr string
	}
	ended := make(chan outcome, 1)
	go func() {
		code, stdout, stderr := e2e.Runnerctl(ctx, e2e.Up(name, "--attach")...)
		ended <- outcome{code, stdout, stderr}
	}()
	e2e.Eventually(t, 2*time.Minute, "the supervisor runs", func() bool {
		select {
		case early := <-ended:
			t.Fatalf("up ended early: %+v, want it attached", early)
		default:
		}
		return strings.Contains(e2e.Must(t, "events", "--fleet", name), "  began: 1 wanted")
	})
	e2e.SupervisorOf(t, api, name)
	e2e.AwaitOnline(t, github, 1, e2e.RunJobs(t, github, 1)...)
	// The runner that had the job is removed when its successor exists.
	e2e.Eventually(t, 30*time.Second, "the job's end is reported", func() bool {
		return strings.Contains(e2e.Must(t, "events", "--fleet", name), "job build success")
	})
	cancel(commands.ErrInterrupted)
	shown := <-ended
	if shown.code != commands.ExitInterrupted || !strings.Contains(shown.stdout, "began: 1 wanted") || !strings.Contains(shown.stdout, "job build success") || !strings.Contains(shown.stderr, "runnerctl-supervisor-"+name+"   removed\n") {
		t.Errorf("got %+v, want exit code %d, the supervisor's begin and the job's end on stdout, and its removal on stderr", shown, commands.ExitInterrupted)
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v, want nothing", left, e2e.Registered(github))
	}
}

// up checks that the supervisor's program exists before it makes anything.
func TestUpWithoutASupervisorsProgram(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Supervised(t)
	code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--supervisor-binary", "/nosuch")...)
	if code != commands.ExitFailure || !strings.Contains(stderr, "--supervisor-binary: /nosuch: not a Linux program") || !strings.Contains(stderr, "make build") || !strings.Contains(stderr, "--no-supervisor") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant the missing program, make build and --no-supervisor", code, commands.ExitFailure, stderr)
	}
	if strings.Contains(stderr, "image ") || len(e2e.Leftovers(t, api, name)) > 0 || len(github.Runners()) > 0 {
		t.Errorf("made: %v, registered: %v, want nothing; stderr:\n%s", e2e.Leftovers(t, api, name), e2e.Registered(github), stderr)
	}
}
