//go:build linux

package supervision

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/supervisor"
)

// keptFleet is a fleet with a supervisor in the background, as up leaves it.
type keptFleet struct {
	t       *testing.T
	api     *client.Client
	github  *ghsim.Server
	name    string
	engine  *dockerx.Engine
	address string // of its metrics
	leave   func(fleet.Desired)
	desired fleet.Desired
}

// supervise starts a supervisor in the background for the settings in the working folder, and
// removes it and its state with the test.
func supervise(t *testing.T, api *client.Client, github *ghsim.Server, name string) *keptFleet {
	t.Helper()
	found, desired := supervisedFleet(t, name)
	s := &keptFleet{t: t, api: api, github: github, name: name, engine: found.Engine, desired: desired, address: e2e.FreeAddress(t)}
	s.leave = func(desired fleet.Desired) {
		t.Helper()
		leaveSupervisor(t, found, desired, supervisor.Output{Format: "text", Metrics: s.address})
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.tell()
		}
		s.end()
	})
	s.leave(desired)
	return s
}

// end removes the supervisor and its state; the runners stay.
func (s *keptFleet) end() {
	s.t.Helper()
	ctx := context.Background()
	found, err := s.engine.Supervisor(ctx, s.name)
	if err == nil {
		err = s.engine.StopSupervisor(ctx, s.name)
	}
	if err == nil {
		err = s.engine.RemoveState(ctx, s.name)
	}
	if err != nil {
		s.t.Error(err)
	}
	if found.Image != "" {
		e2e.RemoveImage(s.t, s.api, found.Image)
	}
}

// tell logs the supervisor's actions.
func (s *keptFleet) tell() {
	var log strings.Builder
	if err := s.engine.SupervisorLog(context.Background(), s.name, dockerx.LogOptions{Tail: -1}, &log); err != nil {
		s.t.Log(err)
	}
	s.t.Logf("the supervisor's log:\n%s", log.String())
}

// down removes everything and checks that nothing is left, including at GitHub.
func (s *keptFleet) down() {
	s.t.Helper()
	if s.t.Failed() {
		s.tell()
	}
	s.end()
	e2e.Must(s.t, "down", "--fleet", s.name)
	if left := e2e.Leftovers(s.t, s.api, s.name); len(left) > 0 {
		s.t.Errorf("left behind: %v", left)
	}
	if left := e2e.Registered(s.github); len(left) > 0 {
		s.t.Errorf("left at GitHub: %v", left)
	}
}

// whoIsThis prints which daemon a job has, and which jobs used its data-root before.
const whoIsThis = `echo "daemon $(docker info --format '{{.ID}}')"
echo "before $(sudo cat /var/lib/docker/had 2>/dev/null)" && echo "$GITHUB_RUN_ID" | sudo tee -a /var/lib/docker/had >/dev/null`

// said returns the text after a word in a job's log.
func said(t *testing.T, result ghsim.Result, word string) string {
	t.Helper()
	for line := range strings.Lines(result.Log) {
		// Each line begins with its time.
		if _, text, found := strings.Cut(strings.TrimRight(line, "\n"), " "); found && strings.HasPrefix(text, word+" ") && !strings.Contains(text, "$(") {
			return strings.TrimPrefix(text, word+" ")
		}
	}
	t.Errorf("job %d on %s says no %q:\n%s", result.ID, result.Runner, word, result.Log)
	return ""
}

// once checks that GitHub gave each job to one runner once, and each runner one job.
func once(t *testing.T, github *ghsim.Server, results []ghsim.Result) {
	t.Helper()
	var had, took []string
	for _, result := range results {
		had = append(had, result.Runner)
	}
	for _, asked := range github.Requests() {
		if strings.HasSuffix(asked.Path, "/acquirejob") && asked.Status == 200 {
			took = append(took, strings.TrimPrefix(asked.Who, "runner "))
		}
	}
	slices.Sort(had)
	slices.Sort(took)
	if !slices.Equal(had, took) || len(slices.Compact(took)) != len(had) {
		t.Errorf("jobs were taken by %v, and had by %v, want the same, each once", took, had)
	}
}

// wholeAfter returns, for each job's end, the time until GitHub had count runners connected
// again, by GitHub's own log.
func wholeAfter(github *ghsim.Server, results []ghsim.Result, count int) (after []time.Duration) {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, asked := range github.Requests() {
		if asked.Path == "/broker/session" && asked.Method == "POST" && asked.Status == 200 {
			changes = append(changes, change{asked.At.Add(asked.Duration), 1})
		}
	}
	for _, result := range results {
		changes = append(changes, change{result.Completed, -1})
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	var waiting []time.Time
	online := 0
	for _, each := range changes {
		if online += each.by; each.by < 0 {
			waiting = append(waiting, each.at)
		}
		if online >= count {
			for _, since := range waiting {
				after = append(after, each.at.Sub(since))
			}
			waiting = nil
		}
	}
	slices.Sort(after)
	return after
}

// wholeWithin allows for the tests that run in parallel. Without them it takes less than a second.
const wholeWithin = 5 * time.Second

// Jobs through a fleet of four: each runs on a machine that no job used before, and the fleet
// is complete again soon after each. FLEET_JOBS sets the number of jobs.
func TestJobsThroughAFleet(t *testing.T) {
	const count = 4
	many := e2e.ManyJobs
	if text := os.Getenv("FLEET_JOBS"); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", fmt.Sprintf("runners: {count: %d, spares: 1}", count))
	s := supervise(t, api, github, name)
	e2e.AwaitOnline(t, github, count)
	var queued []int64
	var single, together []ghsim.Result
	for len(queued) < many {
		// One after the other, and now and then as many in parallel as there are runners.
		wave := 1
		if len(queued)%20 == 6 {
			wave = count
		}
		e2e.AwaitOnline(t, github, count)
		e2e.Eventually(t, time.Minute, "a spare waits", func() bool { return waiting(t, s.engine, name) == 1 })
		first := len(queued)
		for range wave {
			queued = append(queued, e2e.Queue(t, github, whoIsThis))
		}
		for _, id := range queued[first:] {
			if result := e2e.AwaitJob(t, github, id); wave == 1 {
				single = append(single, result)
			} else {
				together = append(together, result)
			}
		}
	}
	e2e.AwaitOnline(t, github, count)

	results := slices.Concat(single, together)
	daemons := map[string]bool{}
	for _, result := range results {
		daemon := said(t, result, "daemon")
		if before := said(t, result, "before"); result.Conclusion != "success" || before != "" || daemon == "" || daemons[daemon] {
			t.Errorf("job %d on %s: %s, daemon %q had %q before, want success on a daemon of its own", result.ID, result.Runner, result.Conclusion, daemon, before)
		}
		daemons[daemon] = true
	}
	once(t, github, results)
	after := wholeAfter(github, results, count)
	if len(after) != len(results) {
		t.Fatalf("whole again after %d of %d jobs, want all", len(after), len(results))
	}
	median := after[len(after)/2]
	t.Logf("%d jobs: from a job's end until %d were online again: median %s, 90 %% within %s, longest %s", len(after), count, median, after[len(after)*9/10], after[len(after)-1])
	if median > wholeWithin {
		t.Errorf("the fleet is whole only after %v, want a median of at most %v", after, wholeWithin)
	}
	s.down()
}
