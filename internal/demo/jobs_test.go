package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

func TestJobs(t *testing.T) {
	var names []string
	for _, wave := range Waves() {
		if len(wave) != size {
			t.Errorf("%d jobs in a wave, want %d", len(wave), size)
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

func TestJudge(t *testing.T) {
	failing, _, err := readScript(failingStep)
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
	good, bad := Job{name: "j", expected: "success"}, Job{name: "j", expected: "failure"}
	for _, c := range []struct {
		job    Job
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

func TestCollisions(t *testing.T) {
	rows := []Row{{Name: "a", Runner: "1", Daemon: "x", QueueToStart: 3}, {Name: "b", Runner: "2", Daemon: "y", QueueToStart: 1}, {Name: "c", Runner: "3", Daemon: "z", QueueToStart: 2}}
	if err := collisions(rows); err != nil || MedianStart(rows) != 2*time.Second {
		t.Errorf("got %v and a median of %s, want no error and 2s", err, MedianStart(rows))
	}
	for says, change := range map[string]Row{
		"jobs a and b ran on one runner, 1":      {Name: "b", Runner: "1", Daemon: "y"},
		"jobs a and b used one Docker daemon, x": {Name: "b", Runner: "2", Daemon: "x"},
		"job b did not report its Docker daemon": {Name: "b", Runner: "2"},
	} {
		if err := collisions([]Row{rows[0], change, rows[2]}); err == nil || err.Error() != says {
			t.Errorf("got %v, want %s", err, says)
		}
	}
	if err := collisions([]Row{{Name: "only"}}); err == nil {
		t.Error("a job without a daemon passes, want an error")
	}
	row := newRow(Job{name: "a", expected: "success"}, 1, ghsim.Result{Log: "2026-01-01T00:00:00.0000000Z daemon=1234-ab\n2026-01-01T00:00:00.0000000Z x", Queued: time.Unix(10, 0), FirstStep: time.Unix(11, 0), Completed: time.Unix(15, 0)})
	if row.Daemon != "1234-ab" || row.QueueToStart != 1 || row.Total != 5 {
		t.Errorf("got %+v, want the daemon 1234-ab, a start after 1 and an end after 5", row)
	}
}
