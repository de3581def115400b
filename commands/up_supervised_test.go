//go:build linux && long

package commands

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/runnerctl/runnerctl/internal/agenttest"
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

// beside runs a command in parallel until it ends or is interrupted.
func beside(t *testing.T, args ...string) (interrupt func(), outcome <-chan ended) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	told := make(chan ended, 1)
	go func() {
		code, _, stderr := runnerctl(ctx, args...)
		told <- ended{code, stderr}
	}()
	return func() { cancel(errInterrupted) }, told
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
		writeSettings(t, github, target, "runners: {count: 2, memory: "+memory+"}", "image: {agent: {archive: "+agent+"}}")
	}
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	supervised(t)
	settings(github, "acme/api", "1GiB")
	must(t, up(name)...)
	first := supervisorOf(t, api, name)
	before, spec := registered(github), specs(t, name)
	if len(before) != 2 || len(spec) != 1 {
		t.Fatalf("registered: %v, specs: %v, want 2 and 1", before, spec)
	}

	settings(github, "acme/api", "1100MiB")
	if plan := must(t, up(name, "--dry-run")...); !strings.Contains(plan, "its runners are replaced one by one, each after its job") {
		t.Errorf("plan:\n%s\nwant %q", plan, "its runners are replaced one by one, each after its job")
	}
	must(t, up(name)...)
	rolled := registered(github)
	if len(rolled) != 2 || slices.ContainsFunc(rolled, func(one string) bool { return slices.Contains(before, one) }) {
		t.Errorf("registered: %v, before: %v, want 2 others", rolled, before)
	}
	if after := specs(t, name); len(after) != 1 || after[0] == spec[0] {
		t.Errorf("specs %v, before %v, want another one", after, spec)
	}
	if again := supervisorOf(t, api, name); again.ContainerID != first.ContainerID {
		t.Errorf("supervisor %+v, want container %s", again, first.ContainerID)
	}

	job := queueAndStart(t, github, untilGo)
	busy, _ := github.Result(job)
	settings(github, "acme", "1100MiB")
	must(t, up(name)...)
	second := supervisorOf(t, api, name)
	if second.ContainerID == first.ContainerID || !second.Running {
		t.Errorf("supervisor %+v, want another container than %s, running", second, first.ContainerID)
	}
	must(t, "exec", busy.Runner, "--", "touch", "go")
	if result := await(t, github, job); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	eventually(t, 2*time.Minute, "two are online at the new target, none at the old", func() bool {
		runners := list(t, name)
		return len(runners) == 2 && !slices.ContainsFunc(runners, func(one fleet.Runner) bool {
			return slices.Contains(rolled, one.Name) || one.Listing == nil || one.Listing.State != fleet.Online
		})
	})
	must(t, "down", "--fleet", name)
	if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, registered(github))
	}
}

// --no-supervisor also ends a supervisor in the foreground, and its runners stay.
func TestNoSupervisorEndsTheForeground(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	_, told := beside(t, "supervise", "--fleet", name, "--bootstrap-base", "--progress", "quiet", "--metrics-address", freeAddress(t))
	online(t, github, 1)
	eventually(t, time.Minute, "it has seen the runner", func() bool {
		return strings.Contains(must(t, "events", "--fleet", name), "  online      ")
	})
	before := registered(github)
	must(t, up(name, "--no-supervisor")...)
	select {
	case end := <-told:
		if end.code != exitFailure || !strings.Contains(end.stderr, "the supervisor was ended from outside") {
			t.Errorf("got %+v, want exit code %d and %q", end, exitFailure, "the supervisor was ended from outside")
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	if after := registered(github); !slices.Equal(after, before) || len(after) != 1 {
		t.Errorf("registered: %v, before: %v, want the same, one", after, before)
	}
	must(t, "down", "--fleet", name)
	if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, registered(github))
	}
}

// An up that is interrupted after the supervisor has begun leaves the whole fleet, and
// reports the interruption.
func TestUpInterruptedLate(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	supervised(t)
	interrupt, told := beside(t, up(name)...)
	eventually(t, 3*time.Minute, "the supervisor is there", func() bool {
		select {
		case early := <-told:
			t.Fatalf("ended early: %+v, want it to wait", early)
		default:
		}
		return supervisorOf(t, api, name).ContainerID != ""
	})
	interrupt()
	if end := <-told; end.code != exitInterrupted || !strings.Contains(end.stderr, "supervisor   keeps 1 wanted") {
		t.Errorf("got %+v, want exit code %d and %q", end, exitInterrupted, "supervisor   keeps 1 wanted")
	}
	if found := supervisorOf(t, api, name); !found.Running || len(registered(github)) != 1 {
		t.Errorf("got %+v, registered: %v, want a supervisor that runs, and one runner", found, registered(github))
	}
	must(t, "down", "--fleet", name)
	if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, registered(github))
	}
}

// The next plan depends on the fleet and its desired state only: up and a supervisor that is
// started by hand make the same one after the first supervisor is gone.
func TestSamePlanWithoutASupervisor(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api", "runners: {count: 2, spares: 1}")
	supervised(t)
	must(t, up(name)...)
	online(t, github, 2)
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	eventually(t, time.Minute, "a spare waits", func() bool { return waiting(t, engine, name) == 1 })
	if err := api.ContainerRemove(t.Context(), supervisorOf(t, api, name).ContainerID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}

	var planned []string
	for line := range strings.Lines(must(t, up(name, "--count", "4", "--dry-run")...)) {
		if action, _, _ := strings.Cut(line, " "); action == "give" || action == "create" || action == "adopt" || action == "remove" {
			planned = append(planned, strings.Join(strings.Fields(line), " "))
		}
	}
	interrupt, ended := beside(t, "supervise", "--fleet", name, "--count", "4", "--progress", "quiet", "--metrics-address", freeAddress(t))
	var begun []string
	eventually(t, time.Minute, "the supervisor plans", func() bool {
		_, after, _ := strings.Cut(must(t, "events", "--fleet", name), "  began: 4 wanted")
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
	online(t, github, 4)
	interrupt()
	if result := <-ended; result.code != exitInterrupted {
		t.Errorf("exit code %d, want %d: %s", result.code, exitInterrupted, result.stderr)
	}
	must(t, up(name, "--count", "4")...)
	supervisorOf(t, api, name)
}
