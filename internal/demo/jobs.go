package demo

import (
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/scripts"
)

// Job is a job of the demo; scripts/demo holds its steps.
type Job struct {
	name      string
	steps     []string
	container string // image that its steps run in; "" for the runner's machine
	expected  string
}

const failingStep = "fail"

// Waves are the jobs, three at a time. All use the same tags, names and ports.
func Waves() [][]Job {
	onRunner := func(name string, more ...string) Job {
		return Job{name: name, steps: append([]string{"daemon", "apt", "build", "web"}, more...), expected: "success"}
	}
	fails := onRunner("fails", failingStep)
	fails.expected = "failure"
	return [][]Job{
		{onRunner("network", "network"), onRunner("compose", "compose"), onRunner("privileged", "privileged")},
		{onRunner("escape", "escape"), {name: "container", steps: []string{"daemon", "container"}, container: "job:test", expected: "success"}, fails},
		{onRunner("test 1/3"), onRunner("test 2/3"), onRunner("test 3/3")},
	}
}

// preparation returns the steps that a wave's runners need first: they make the images of the
// wave's containers, which a runner would pull if there were a registry.
func preparation(wave []Job) []string {
	if slices.ContainsFunc(wave, func(j Job) bool { return j.container != "" }) {
		return []string{"apt", "build", "job-image"}
	}
	return nil
}

// readScript reads a script and its title.
func readScript(name string) (title, text string, err error) {
	whole, err := scripts.Demo.ReadFile(path.Join("demo", name))
	if err != nil {
		return "", "", fmt.Errorf("demo: %w", err)
	}
	lines := strings.SplitN(string(whole), "\n", 3)
	return strings.TrimPrefix(lines[1], "# "), string(whole), nil
}

// workflow returns the job in the form that GitHub gets.
func (j Job) workflow() (ghsim.Job, error) {
	job := ghsim.Job{Name: j.name, RunsOn: ghsim.Strings{"self-hosted", "linux"}, Container: ghsim.Container{Image: j.container}}
	for _, name := range j.steps {
		title, text, err := readScript(name)
		if err != nil {
			return ghsim.Job{}, err
		}
		job.Steps = append(job.Steps, ghsim.Step{Name: title, Run: text})
	}
	return job, nil
}

// Row is the outcome of a demo job; -o json prints these rows.
type Row struct {
	Name         string  `json:"name"`
	Wave         int     `json:"wave"`
	Expected     string  `json:"expected"`
	Conclusion   string  `json:"conclusion"`
	QueueToStart float64 `json:"queue_to_start_s"` // seconds until the first step began
	Total        float64 `json:"total_s"`          // seconds from the queue to the end
	Runner       string  `json:"runner"`
	Daemon       string  `json:"daemon"` // id of the Docker daemon that the job used
}

var daemonPattern = regexp.MustCompile(`(?m)daemon=(\S+)$`)

func newRow(job Job, wave int, result ghsim.Result) Row {
	row := Row{Name: job.name, Wave: wave, Expected: job.expected, Conclusion: result.Conclusion, Runner: result.Runner, Total: result.Completed.Sub(result.Queued).Seconds()}
	if !result.FirstStep.IsZero() {
		row.QueueToStart = result.FirstStep.Sub(result.Queued).Seconds()
	}
	if found := daemonPattern.FindStringSubmatch(result.Log); found != nil {
		row.Daemon = found[1]
	}
	return row
}

// WrongError reports a part of the demo that did not go as it should.
type WrongError struct {
	problem string
	last    []string // lines of a job's log
}

func (e *WrongError) Error() string { return e.problem }

// Last returns the last lines of the job's log.
func (e *WrongError) Last() []string { return e.last }

// judge checks that a job went as it should, and failed where it should.
func (j Job) judge(result ghsim.Result) error {
	failed := ""
	var log string
	for _, step := range result.Steps {
		if step.Conclusion == "failure" {
			failed, log = step.Name, step.Log
			break
		}
	}
	wanted := ""
	if j.expected == "failure" {
		wanted, _, _ = readScript(failingStep)
	}
	if result.Conclusion == j.expected && failed == wanted {
		return nil
	}
	problem := fmt.Sprintf("job %s on %s: %s, not %s", j.name, result.Runner, result.Conclusion, j.expected)
	switch {
	case result.Conclusion == j.expected:
		problem = fmt.Sprintf("job %s on %s: failed, as expected, but at: %s", j.name, result.Runner, failed)
	case failed != "":
		problem += ": " + failed
	}
	lines := strings.Split(strings.TrimSpace(ui.Plain(log)), "\n")
	return &WrongError{problem, lines[max(0, len(lines)-10):]}
}

// collisions reports resources that demo jobs shared and should have had for themselves.
func collisions(rows []Row) error {
	for i, row := range rows {
		if row.Daemon == "" {
			return &WrongError{problem: fmt.Sprintf("job %s did not report its Docker daemon", row.Name)}
		}
		for _, other := range rows[:i] {
			switch {
			case row.Runner == other.Runner:
				return &WrongError{problem: fmt.Sprintf("jobs %s and %s ran on one runner, %s", other.Name, row.Name, row.Runner)}
			case row.Daemon == other.Daemon:
				return &WrongError{problem: fmt.Sprintf("jobs %s and %s used one Docker daemon, %s", other.Name, row.Name, row.Daemon)}
			}
		}
	}
	return nil
}

// MedianStart returns the median of the times from queue to first step.
func MedianStart(rows []Row) time.Duration {
	var all []float64
	for _, row := range rows {
		all = append(all, row.QueueToStart)
	}
	slices.Sort(all)
	return time.Duration(all[len(all)/2] * float64(time.Second))
}

func writeTable(w io.Writer, rows []Row, theme ui.Theme) {
	var table [][]string
	for _, row := range rows {
		mark := theme.Check()
		if row.Conclusion != row.Expected {
			mark = theme.Cross()
		}
		table = append(table, []string{
			row.Name, mark + " " + row.Conclusion, row.Expected, fmt.Sprintf("%.2fs", row.QueueToStart),
			ui.Duration(time.Duration(row.Total * float64(time.Second))), row.Runner, row.Daemon,
		})
	}
	ui.Table(w, []string{"JOB", "RESULT", "EXPECTED", "STARTED AFTER", "TOTAL", "RUNNER", "DOCKER DAEMON"}, table)
}
