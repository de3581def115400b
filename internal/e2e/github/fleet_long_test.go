//go:build linux && long

package github

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// Twenty jobs on twenty warm runners, first one after the other and then all at once:
// measures the time from the queue to the first step's start and, before that, from up to
// online.
func TestTwentyJobsStartAtOnce(t *testing.T) {
	const count = 20
	_, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet")

	began := time.Now()
	e2e.Must(t, e2e.Up(name)...)
	alone := onlineAfter(github, began)
	for _, test := range []struct {
		name  string
		limit time.Duration // of the median
		run   func() []ghsim.Result
	}{
		{"one after the other", time.Second, func() (results []ghsim.Result) {
			for range count {
				results = append(results, e2e.AwaitJob(t, github, e2e.Queue(t, github, "docker info >/dev/null")))
			}
			return results
		}},
		{"all at once", 10 * time.Second, func() (results []ghsim.Result) {
			var jobs []int64
			for range count {
				jobs = append(jobs, e2e.Queue(t, github, "docker info >/dev/null"))
			}
			for _, job := range jobs {
				results = append(results, e2e.AwaitJob(t, github, job))
			}
			return results
		}},
	} {
		began := time.Now()
		e2e.Must(t, e2e.Up(name, "--count", "20", "--timeout", "5m")...)
		online := onlineAfter(github, began)
		var waits []time.Duration
		for _, result := range test.run() {
			if result.Conclusion != "success" {
				t.Fatalf("got %+v, want success", result)
			}
			waits = append(waits, result.FirstStep.Sub(result.Queued))
		}
		slices.Sort(waits)
		t.Logf("%d jobs, %s: queued to first step: median %s, longest %s; up to online before: %d runners, median %s, longest %s",
			count, test.name, waits[count/2], waits[count-1], len(online), online[len(online)/2], online[len(online)-1])
		if waits[count/2] > test.limit {
			t.Errorf("%s: queued to first step: %v, want a median of at most %s", test.name, waits, test.limit)
		}
	}
	t.Logf("one runner: up to online %v", alone)
	e2e.Must(t, "down", "--fleet", name)
	if left := e2e.Registered(github); len(left) > 0 {
		t.Errorf("left at GitHub: %v", left)
	}
}

// onlineAfter returns how long after began each runner came online, sorted.
func onlineAfter(github *ghsim.Server, began time.Time) (after []time.Duration) {
	for _, asked := range github.Requests() {
		if asked.Path == "/broker/session" && asked.Method == "POST" && asked.Status == 200 && asked.At.After(began) {
			after = append(after, asked.At.Add(asked.Duration).Sub(began))
		}
	}
	slices.Sort(after)
	return after
}

// The agent takes a job ten seconds before its daemon answers, and the job's first step finds
// Docker.
func TestDaemonIsLate(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.WriteSettings(t, github, "acme/api", fmt.Sprintf("docker: {start: eager}\nimage:\n  agent: {archive: %s}\n  dockerfile: |\n    %s", agenttest.Archive(t), lateDaemon))
	job := e2e.Queue(t, github, "docker version --format 'daemon {{.Server.Version}}' && until [ -e ~/go ]; do sleep 0.2; done")
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	t.Cleanup(func() { e2e.RemoveImage(t, api, runner.Image) })
	e2e.Must(t, "exec", runner.Name, "--", "touch", "go")
	result := e2e.AwaitJob(t, github, job)
	if waited := result.FirstStep.Sub(result.Acquired); result.Conclusion != "success" || !strings.Contains(result.Log, "daemon 2") || waited < 5*time.Second {
		t.Errorf("waited %s, want 5s at least; %+v, want success and the daemon's answer", waited, result)
	}
}
