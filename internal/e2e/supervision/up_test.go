//go:build linux && long

package supervision

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// untilGo is a job that ends when it is released, or by itself if a test fails first.
const untilGo = "for i in $(seq 900); do [ -e ~/go ] && exit; sleep 0.2; done"

// ended is the result of a command that ran in parallel with the test.
type ended struct {
	code   int
	stderr string
}

// inBackground runs a command in parallel until it ends or is interrupted.
func inBackground(t *testing.T, args ...string) (interrupt func(), outcome <-chan ended) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan ended, 1)
	go func() {
		code, _, stderr := e2e.Runnerctl(ctx, args...)
		done <- ended{code, stderr}
	}()
	return func() { cancel(commands.ErrInterrupted) }, done
}

// specs returns the hashes of the specs from which the fleet's runners were made.
func specs(t *testing.T, name string) (all []string) {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	runners, err := engine.Known(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, runner := range runners {
		all = append(all, runner.SpecHash)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// When up sets another spec, the existing supervisor rolls the fleet. Another target gets
// another supervisor, and a job of the old one may end.
func TestUpOfAnotherSpecAndTarget(t *testing.T) {
	agent := agenttest.Archive(t)
	settings := func(github *ghsim.Server, target, memory string) {
		e2e.WriteSettings(t, github, target, "runners: {count: 2, memory: "+memory+"}", "image: {agent: {archive: "+agent+"}}")
	}
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Supervised(t)
	settings(github, "acme/api", "1GiB")
	e2e.Must(t, e2e.Up(name)...)
	first := e2e.SupervisorOf(t, api, name)
	before, spec := e2e.Registered(github), specs(t, name)
	if len(before) != 2 || len(spec) != 1 {
		t.Fatalf("registered: %v, specs: %v, want 2 and 1", before, spec)
	}

	settings(github, "acme/api", "1100MiB")
	if plan := e2e.Must(t, e2e.Up(name, "--dry-run")...); !strings.Contains(plan, "its runners are replaced one by one, each after its job") {
		t.Errorf("plan:\n%s\nwant %q", plan, "its runners are replaced one by one, each after its job")
	}
	e2e.Must(t, e2e.Up(name)...)
	rolled := e2e.Registered(github)
	if len(rolled) != 2 || slices.ContainsFunc(rolled, func(one string) bool { return slices.Contains(before, one) }) {
		t.Errorf("registered: %v, before: %v, want 2 others", rolled, before)
	}
	if after := specs(t, name); len(after) != 1 || after[0] == spec[0] {
		t.Errorf("specs %v, before %v, want another one", after, spec)
	}
	if again := e2e.SupervisorOf(t, api, name); again.ContainerID != first.ContainerID {
		t.Errorf("supervisor %+v, want container %s", again, first.ContainerID)
	}

	job := e2e.QueueAndStart(t, github, untilGo)
	busy, _ := github.Result(job)
	settings(github, "acme", "1100MiB")
	e2e.Must(t, e2e.Up(name)...)
	second := e2e.SupervisorOf(t, api, name)
	if second.ContainerID == first.ContainerID || !second.Running {
		t.Errorf("supervisor %+v, want another container than %s, running", second, first.ContainerID)
	}
	e2e.Must(t, "exec", busy.Runner, "--", "touch", "go")
	if result := e2e.AwaitJob(t, github, job); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	e2e.Eventually(t, 2*time.Minute, "two are online at the new target, none at the old", func() bool {
		runners := e2e.List(t, name)
		return len(runners) == 2 && !slices.ContainsFunc(runners, func(one fleet.Runner) bool {
			return slices.Contains(rolled, one.Name) || one.Listing == nil || one.Listing.State != fleet.Online
		})
	})
	e2e.Must(t, "down", "--fleet", name)
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}

// --no-supervisor also ends a supervisor in the foreground, and its runners stay.
func TestNoSupervisorEndsTheForeground(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	_, done := inBackground(t, "supervise", "--fleet", name, "--bootstrap-base", "--progress", "quiet", "--metrics-address", e2e.FreeAddress(t))
	e2e.AwaitOnline(t, github, 1)
	e2e.Eventually(t, time.Minute, "it has seen the runner", func() bool {
		return strings.Contains(e2e.Must(t, "events", "--fleet", name), "  online      ")
	})
	before := e2e.Registered(github)
	e2e.Must(t, e2e.Up(name, "--no-supervisor")...)
	select {
	case end := <-done:
		if end.code != commands.ExitFailure || !strings.Contains(end.stderr, "the supervisor was ended from outside") {
			t.Errorf("got %+v, want exit code %d and %q", end, commands.ExitFailure, "the supervisor was ended from outside")
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	if after := e2e.Registered(github); !slices.Equal(after, before) || len(after) != 1 {
		t.Errorf("registered: %v, before: %v, want the same, one", after, before)
	}
	e2e.Must(t, "down", "--fleet", name)
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}

// An up that is interrupted after the supervisor has begun leaves the whole fleet, and
// reports the interruption.
func TestUpInterruptedLate(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Supervised(t)
	interrupt, done := inBackground(t, e2e.Up(name)...)
	e2e.Eventually(t, 3*time.Minute, "the supervisor is there", func() bool {
		select {
		case early := <-done:
			t.Fatalf("ended early: %+v, want it to wait", early)
		default:
		}
		return e2e.SupervisorOf(t, api, name).ContainerID != ""
	})
	interrupt()
	if end := <-done; end.code != commands.ExitInterrupted || !strings.Contains(end.stderr, "supervisor   keeps 1 wanted") {
		t.Errorf("got %+v, want exit code %d and %q", end, commands.ExitInterrupted, "supervisor   keeps 1 wanted")
	}
	if found := e2e.SupervisorOf(t, api, name); !found.Running || len(e2e.Registered(github)) != 1 {
		t.Errorf("got %+v, registered: %v, want a supervisor that runs, and one runner", found, e2e.Registered(github))
	}
	e2e.Must(t, "down", "--fleet", name)
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}

// The next plan depends on the fleet and its desired state only: up and a supervisor that is
// started by hand make the same one after the first supervisor is gone.
func TestSamePlanWithoutASupervisor(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {count: 2, spares: 1}")
	e2e.Supervised(t)
	e2e.Must(t, e2e.Up(name)...)
	e2e.AwaitOnline(t, github, 2)
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	e2e.Eventually(t, time.Minute, "a spare waits", func() bool { return waiting(t, engine, name) == 1 })
	if err := api.ContainerRemove(t.Context(), e2e.SupervisorOf(t, api, name).ContainerID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}

	var planned []string
	for line := range strings.Lines(e2e.Must(t, e2e.Up(name, "--count", "4", "--dry-run")...)) {
		if action, _, _ := strings.Cut(line, " "); action == "give" || action == "create" || action == "adopt" || action == "remove" {
			planned = append(planned, strings.Join(strings.Fields(line), " "))
		}
	}
	interrupt, ended := inBackground(t, "supervise", "--fleet", name, "--count", "4", "--progress", "quiet", "--metrics-address", e2e.FreeAddress(t))
	var begun []string
	e2e.Eventually(t, time.Minute, "the supervisor plans", func() bool {
		_, after, _ := strings.Cut(e2e.Must(t, "events", "--fleet", name), "  began: 4 wanted")
		_, text, found := strings.Cut(after, "  plan        ")
		text, _, _ = strings.Cut(text, "\n")
		begun = strings.Split(text, "; ")
		return found
	})
	random := regexp.MustCompile(regexp.QuoteMeta(name) + "-[a-z0-9]{4}")
	for _, one := range [][]string{planned, begun} {
		for i, line := range one {
			if strings.HasPrefix(line, "create ") { // its name is drawn
				one[i] = random.ReplaceAllString(line, "NAME")
			}
		}
	}
	if !slices.Equal(planned, begun) || len(planned) != 2 {
		t.Errorf("up plans %q, and the supervisor %q; want the same two operations", planned, begun)
	}
	e2e.AwaitOnline(t, github, 4)
	interrupt()
	if result := <-ended; result.code != commands.ExitInterrupted {
		t.Errorf("exit code %d, want %d: %s", result.code, commands.ExitInterrupted, result.stderr)
	}
	e2e.Must(t, e2e.Up(name, "--count", "4")...)
	e2e.SupervisorOf(t, api, name)
}
