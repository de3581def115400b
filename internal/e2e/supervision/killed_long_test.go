//go:build linux && long

package supervision

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// wholeAfterAll is the time for a fleet to be whole after all of it was killed.
const wholeAfterAll = 30 * time.Second // three times the goal

// When all runners and the supervisor are killed at once, the fleet becomes complete again.
func TestEveryRunnerAndTheSupervisorKilled(t *testing.T) {
	const count = 4
	api, github, name := e2e.WithGitHub(t, ghsim.Options{SessionTimeout: 5 * time.Second, PollTimeout: 2 * time.Second}, "acme/api", fmt.Sprintf("runners: {count: %d, spares: 1}", count))
	s := supervise(t, api, github, name)
	e2e.AwaitOnline(t, github, count)
	e2e.Eventually(t, time.Minute, "a spare waits", func() bool { return waiting(t, s.engine, name) == 1 })
	supervisor, err := s.engine.Supervisor(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var had []string
	killed := []string{supervisor.ContainerID}
	for _, runner := range s.known() {
		had, killed = append(had, runner.Name), append(killed, runner.ContainerID)
	}
	began := time.Now()
	for _, id := range killed {
		if !killIn(t, id, "") {
			t.Fatalf("container %s has no first process", id)
		}
	}
	e2e.AwaitOnline(t, github, count, had...)
	took := time.Since(began)
	t.Logf("whole again after %s", took)
	if took > wholeAfterAll {
		t.Errorf("whole again only after %s, want at most %v", took, wholeAfterAll)
	}
	e2e.Eventually(t, time.Minute, "GitHub lists no ghost", func() bool { return len(github.Runners()) == count })
	if now, err := s.engine.Supervisor(t.Context(), name); err != nil || now.ContainerID != supervisor.ContainerID || now.Restarts != 1 {
		t.Errorf("got %+v, %v, want container %s, restarted once", now, err, supervisor.ContainerID)
	}
	s.down()
}

// A new supervisor, as after an upgrade, keeps the runners that it finds. It rolls those of
// another spec, the busy one after its job, and never with fewer online.
func TestUpgradeOfAFleet(t *testing.T) {
	const count = 2
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", fmt.Sprintf("runners: {count: %d}", count))
	s := supervise(t, api, github, name)
	e2e.AwaitOnline(t, github, count)
	before := e2e.Registered(github)
	events := func() string { return e2e.Must(t, "events", "--fleet", name) }
	if err := s.engine.StopSupervisor(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	s.leave(s.desired)
	e2e.Eventually(t, time.Minute, "the next supervisor has begun", func() bool { return strings.Count(events(), "  began: ") == 2 })
	sleepFor(t, 5*time.Second) // it has looked by now, and would have acted
	if after := e2e.Registered(github); !slices.Equal(after, before) {
		t.Errorf("registered: %v, want %v", after, before)
	}

	job := e2e.QueueAndStart(t, github, "until [ -e ~/go ]; do sleep 0.2; done")
	result, _ := github.Result(job)
	ctx, stop := context.WithCancel(t.Context())
	fewest := count
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			connected := 0
			for _, one := range github.Runners() {
				if one.Online {
					connected++
				}
			}
			fewest = min(fewest, connected)
			time.Sleep(10 * time.Millisecond)
		}
	})
	desired := s.desired
	desired.Spec.Memory += 64 << 20
	s.leave(desired)
	e2e.Eventually(t, time.Minute, "the idle one is of the new spec", func() bool {
		after := e2e.Registered(github)
		return len(after) == count && slices.Contains(after, result.Runner) && !slices.Equal(after, before)
	})
	stop()
	watching.Wait()
	if fewest < count {
		t.Errorf("at times only %d were online, want %d", fewest, count)
	}
	e2e.Must(t, "exec", result.Runner, "--", "touch", "go")
	if result := e2e.AwaitJob(t, github, job); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	e2e.AwaitOnline(t, github, count)
	e2e.Eventually(t, time.Minute, "who had the job is buried", func() bool { return len(s.known()) == count })
	for _, runner := range s.known() {
		if slices.Contains(before, runner.Name) || runner.SpecHash != desired.Spec.Hash() {
			t.Errorf("got %+v, want a new runner of spec %s", runner, desired.Spec.Hash())
		}
	}
	s.down()
}
