//go:build linux

package workflows

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// workflow is a file of testdata/workflows and its expected result.
type workflow struct {
	name       string
	conclusion string   // of each of its jobs
	cancelAt   string   // cancelled once its live log has this line
	log        []string // must be in the log of each job
	never      []string // must be in no job's log
	check      func(t *testing.T, result ghsim.Result)
	long       bool // takes more than a minute: runs with the build tag long
}

const (
	success = "success"
	failure = "failure"
)

// workflows returns the whole suite: TestWorkflowsAreAllRun fails if the table lacks a file.
func workflows() []workflow {
	return []workflow{
		{name: "services", conclusion: success, log: []string{"postgres service is healthy.", "redis service is healthy.", "password=***", "Print service container logs: postgres"}, never: []string{e2e.SuiteSecrets["DATABASE_PASSWORD"]}},
		{name: "service-unhealthy", long: true, conclusion: failure, log: []string{"Service container database failed.", "database system is ready to accept connections", "Failed to initialize container postgres:17", "One or more containers failed to start."}, never: []string{"a step ran\n"}},
		{name: "container", conclusion: success, log: []string{"Starting job container", "redis service is healthy.", "it is found"}},
		{name: "matrix", conclusion: success, long: true},
		{name: "compose", conclusion: success},
		{name: "buildx", conclusion: success, never: []string{e2e.SuiteSecrets["TOKEN"]}},
		{name: "multi-arch", conclusion: success, log: []string{"interpreter /usr/bin/qemu-aarch64"}},
		{name: "testcontainers", conclusion: success, long: true},
		{name: "tool-cache", conclusion: success},
		{name: "files", conclusion: success, log: []string{"this is ***"}, check: func(t *testing.T, result ghsim.Result) {
			if !slices.ContainsFunc(result.Steps, func(s ghsim.StepResult) bool { return s.Summary == "## It went well\n" }) {
				t.Errorf("steps: %+v, want the summary %q", result.Steps, "## It went well\n")
			}
		}},
		{name: "cancelled", conclusion: "cancelled", cancelAt: "waiting", log: []string{"interrupted", "The operation was canceled.", "cleaned up, the job is cancelled", "a step for cancelled jobs ran"}, never: []string{"a later step ran\n"}},
		{name: "timed-out", long: true, conclusion: "cancelled", log: []string{"has timed out after 1 minutes.", "the step was ended", "the job was ended"}, check: func(t *testing.T, result ghsim.Result) {
			if !slices.ContainsFunc(result.Failures, func(one string) bool {
				return strings.Contains(one, "exceeded the maximum execution time of 2 minutes")
			}) {
				t.Errorf("failures %q, want %q", result.Failures, "exceeded the maximum execution time of 2 minutes")
			}
		}},
		{name: "out-of-memory", long: true, conclusion: failure, log: []string{"Docker answers", "Process completed with exit code 137."}},
		{name: "disk-full", conclusion: failure, log: []string{"head: error writing 'standard output': No space left on device", "ERROR: failed to solve"}},
		{name: "sudo", conclusion: success},
		{name: "databases", conclusion: success, long: true},
		{name: "browsers", conclusion: success, long: true},
	}
}

// suite runs workflows on a fleet of its own, whose runners pull from the suite's registry.
type suite struct {
	api     *client.Client
	github  *ghsim.Server
	fleet   string
	runners int
	mu      sync.Mutex // one up at a time
}

func newSuite(t *testing.T, runners int) *suite {
	t.Helper()
	e2e.RunnerImage(t) // also makes the base of the suite's images
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {labels: [ubuntu-latest], memory: 2g, dockerd: "+pullFrom(e2e.ImageMirror(t, e2e.Engine(t)))+"}")
	s := &suite{api: api, github: github, fleet: name, runners: runners}
	s.fill(t)
	return s
}

// pullFrom returns the daemon's settings for pulls from the mirror. BuildKit, unlike the
// daemon, must also know that the mirror has no TLS.
func pullFrom(mirror string) string {
	return fmt.Sprintf("{registry-mirrors: [%q], insecure-registries: [%q]}", mirror, strings.TrimPrefix(mirror, "http://"))
}

// fill brings the fleet back to its count, since each job has ended its runner.
func (s *suite) fill(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	e2e.Must(t, e2e.Up(s.fleet, "--count", fmt.Sprint(s.runners))...)
}

// jobs reads the workflow's file.
func (w workflow) jobs(t *testing.T) []ghsim.Job {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(e2e.SuiteFolder, "workflows", w.name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := ghsim.ParseJobs(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range jobs {
		jobs[i].Secrets, jobs[i].Vars = e2e.SuiteSecrets, e2e.SuiteVars
	}
	return jobs
}

// run runs the jobs of a workflow, one after the other.
func (s *suite) run(t *testing.T, w workflow) {
	t.Helper()
	for _, job := range w.jobs(t) {
		w.judge(t, s.one(t, w, job))
	}
}

// one runs a job on a runner, which ends with it, and then replaces the runner.
func (s *suite) one(t *testing.T, w workflow, job ghsim.Job) ghsim.Result {
	t.Helper()
	defer s.fill(t)
	id, err := s.github.Queue(job)
	if err != nil {
		t.Fatal(err)
	}
	if w.cancelAt != "" {
		e2e.Eventually(t, 2*time.Minute, "the job says "+w.cancelAt, func() bool {
			result, _ := s.github.Result(id)
			return slices.Contains(result.Live, w.cancelAt)
		})
		s.github.Cancel(id)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	result, err := s.github.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, time.Minute, "the runner ends", func() bool { // another lane's up may have removed it
		return !slices.ContainsFunc(e2e.List(t, s.fleet), func(one fleet.Runner) bool { return one.Name == result.Runner && one.State != fleet.Exited })
	})
	t.Logf("%s: %s in %s", result.Name, result.Conclusion, result.Completed.Sub(result.Acquired).Round(time.Second))
	return result
}

func (w workflow) judge(t *testing.T, result ghsim.Result) {
	t.Helper()
	if result.Conclusion != w.conclusion {
		t.Errorf("%s, want %s: %q", result.Conclusion, w.conclusion, result.Failures)
	}
	for _, words := range w.log {
		if !strings.Contains(result.Log, words) {
			t.Errorf("the log lacks %q", words)
		}
	}
	for _, words := range w.never {
		// A script's own text is in the log too, before the script's output.
		if strings.Contains(result.Log, "Z "+words) || strings.Contains(result.Log, words) && !strings.HasSuffix(words, "\n") {
			t.Errorf("the log has %q", words)
		}
	}
	if w.check != nil {
		w.check(t, result)
	}
	if t.Failed() {
		t.Log(result.Log)
	}
}

// Each workflow of testdata/workflows ends as a user of GitHub would expect.
func TestWorkflows(t *testing.T) {
	suite := newSuite(t, 3)
	suite.runAll(t, func(w workflow) bool { return !w.long })
}

func (s *suite) runAll(t *testing.T, wanted func(workflow) bool) {
	t.Helper()
	var chosen []workflow
	for _, each := range workflows() {
		if wanted(each) {
			chosen = append(chosen, each)
		}
	}
	next := make(chan workflow)
	var lanes sync.WaitGroup
	for range s.runners {
		lanes.Go(func() {
			for each := range next {
				t.Run(each.name, func(t *testing.T) { s.run(t, each) })
			}
		})
	}
	for _, each := range chosen {
		next <- each
	}
	close(next)
	lanes.Wait()
}

// The table names every file of the folder, and no other.
func TestWorkflowsAreAllRun(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(e2e.SuiteFolder, "workflows", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found, named []string
	for _, file := range files {
		found = append(found, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	for _, each := range workflows() {
		named = append(named, each.name)
		each.jobs(t)
	}
	slices.Sort(named)
	if !slices.Equal(found, named) {
		t.Errorf("in the folder %v, in the table %v, want the same", found, named)
	}
}
