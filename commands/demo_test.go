//go:build linux

package commands

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestDemo(t *testing.T) {
	realEngine(t)
	t.Chdir(t.TempDir())
	out := ""
	if thorough {
		out = must(t, "demo", "--agent", agenttest.Archive(t), "--bootstrap-base", "--progress", "plain", "-o", "json")
	} else {
		out = oneWave(t)
	}
	var rows []demoRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := map[bool]int{true: 9, false: 3}[thorough]; len(rows) != want || slices.ContainsFunc(rows, func(row demoRow) bool {
		return row.Conclusion != row.Expected || row.Daemon == "" || row.QueueToStart <= 0
	}) {
		t.Errorf("%d jobs, want %d, each with its expected conclusion, a daemon and a start: %+v", len(rows), want, rows)
	}
	if median := medianStart(rows); median > 5*time.Second {
		t.Errorf("queued to first step: %s, want at most 5s", median)
	}
}

// oneWave runs the demo with one wave of jobs, the one with the most kinds.
func oneWave(t *testing.T) string {
	t.Helper()
	var out, errs bytes.Buffer
	loaded := config.Default()
	loaded.Name, loaded.Runners.Count = fleet.NewName("demo", map[string]bool{}), demoRunners
	options := demoOptions{
		config: loaded, build: lifecycle.Build{BootstrapBase: true, Progress: "plain"},
		agent: agenttest.Archive(t), waves: demoWaves()[1:2], json: true, theme: ui.NewTheme("never", false, os.Getenv),
	}
	s := session.Session{Streams: ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Env: os.Getenv, GOOS: runtime.GOOS}
	if err := runDemo(t.Context(), s, options); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String()
}

func TestDemoNeedsAgent(t *testing.T) {
	code, stdout, stderr := runnerctl(t.Context(), "demo", "-o", "json")
	if code != exitFailure || stdout != "[]\n" || !strings.Contains(stderr, "0 archives testagent-linux") || !strings.Contains(stderr, "make agent") {
		t.Errorf("exit code %d, want %d; stdout %q, want %q; stderr:\n%s\nwant the missing archive and make agent", code, exitFailure, stdout, "[]\n", stderr)
	}
}

func TestDemoJobs(t *testing.T) {
	var names []string
	for _, wave := range demoWaves() {
		if len(wave) != demoRunners {
			t.Errorf("%d jobs in a wave, want %d", len(wave), demoRunners)
		}
		for _, job := range wave {
			workflow, err := job.workflow()
			if err != nil || len(workflow.Steps) != len(job.steps) {
				t.Errorf("%s: %+v, %v, want %d steps", job.name, workflow, err, len(job.steps))
			}
			names = append(names, job.name)
		}
	}
	if want := "network compose privileged escape container fails test 1/3 test 2/3 test 3/3"; strings.Join(names, " ") != want {
		t.Errorf("names: %v, want %s", names, want)
	}
}

func TestDemoJudges(t *testing.T) {
	failing, _, err := demoScript(failingStep)
	if err != nil {
		t.Fatal(err)
	}
	result := func(conclusion, failed string) ghsim.Result {
		r := ghsim.Result{Conclusion: conclusion, Runner: "r", Steps: []ghsim.StepResult{{Name: "first", Conclusion: "success"}}}
		if failed != "" {
			r.Steps = append(r.Steps, ghsim.StepResult{Name: failed, Conclusion: "failure", Log: "one\ntwo\n"})
		}
		return r
	}
	good, bad := demoJob{name: "j", expected: "success"}, demoJob{name: "j", expected: "failure"}
	for _, c := range []struct {
		job    demoJob
		result ghsim.Result
		says   string
	}{
		{good, result("success", ""), ""},
		{good, result("failure", "web"), "job j on r: failure, not success: web"},
		{good, result("cancelled", ""), "job j on r: cancelled, not success"},
		{bad, result("failure", failing), ""},
		{bad, result("failure", "web"), "job j on r: failed, as expected, but at: web"},
		{bad, result("success", ""), "job j on r: success, not failure"},
	} {
		said := ""
		if err := c.job.judge(c.result); err != nil {
			said = err.Error()
		}
		if said != c.says {
			t.Errorf("%+v: got %q, want %q", c.result, said, c.says)
		}
	}
}

func TestDemoCollisions(t *testing.T) {
	rows := []demoRow{{Name: "a", Runner: "1", Daemon: "x", QueueToStart: 3}, {Name: "b", Runner: "2", Daemon: "y", QueueToStart: 1}, {Name: "c", Runner: "3", Daemon: "z", QueueToStart: 2}}
	if err := collisions(rows); err != nil || medianStart(rows) != 2*time.Second {
		t.Errorf("got %v and a median of %s, want no error and 2s", err, medianStart(rows))
	}
	for says, change := range map[string]demoRow{
		"jobs a and b ran on one runner, 1":      {Name: "b", Runner: "1", Daemon: "y"},
		"jobs a and b used one Docker daemon, x": {Name: "b", Runner: "2", Daemon: "x"},
		"job b did not report its Docker daemon": {Name: "b", Runner: "2"},
	} {
		if err := collisions([]demoRow{rows[0], change, rows[2]}); err == nil || err.Error() != says {
			t.Errorf("got %v, want %s", err, says)
		}
	}
	if err := collisions([]demoRow{{Name: "only"}}); err == nil {
		t.Error("a job without a daemon passes, want an error")
	}
	row := newDemoRow(demoJob{name: "a", expected: "success"}, 1, ghsim.Result{Log: "2026-01-01T00:00:00.0000000Z daemon=1234-ab\n2026-01-01T00:00:00.0000000Z x", Queued: time.Unix(10, 0), FirstStep: time.Unix(11, 0), Completed: time.Unix(15, 0)})
	if row.Daemon != "1234-ab" || row.QueueToStart != 1 || row.Total != 5 {
		t.Errorf("got %+v, want the daemon 1234-ab, a start after 1 and an end after 5", row)
	}
}
