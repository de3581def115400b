package fleet

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Paper returns the line in the form that a record stores.
func (l LogLine) Paper() string {
	return l.Time.Format(time.RFC3339Nano) + " " + l.Source + ": " + l.Text
}

// LogLines returns the lines of the record's log.
func (r Record) LogLines() (lines []LogLine) {
	for line := range strings.Lines(string(r.Log)) {
		stamp, raw, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			lines = append(lines, ParseLogLine(at, r.Name, raw))
		}
	}
	return lines
}

var (
	agentRuns = regexp.MustCompile(`^\S+ \S+: Running job: (.{1,200})$`)
	agentDone = regexp.MustCompile(`^\S+ \S+: Job (.{1,200}) completed with result: (Succeeded|SucceededWithIssues|Failed|Canceled|Skipped|Abandoned)$`)
	// conclusions maps the agent's results to GitHub's conclusions.
	conclusions = map[string]string{"Succeeded": "success", "SucceededWithIssues": "success", "Failed": "failure", "Abandoned": "failure", "Canceled": "cancelled", "Skipped": "skipped"}
	jobName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,99}$`)
	runPath     = regexp.MustCompile(`^(/[A-Za-z0-9_.-]{1,100}){2}/actions/runs/[0-9]{1,20}/attempts/[0-9]{1,10}$`)
)

// ReadJob finds the runner's last job in two sources. Log lines with the agent's source come
// only from the agent. The note of the job-started hook, "URL NAME", can be forged by any job,
// so ReadJob uses it only if it names a run on the host of target.
func (r *Record) ReadJob(lines []LogLine, note, target string) {
	address, name, _ := strings.Cut(strings.TrimSuffix(note, "\n"), " ")
	if isRunOf(address, target) {
		r.JobURL = address
		if jobName.MatchString(name) {
			r.Job = name
		}
	}
	for _, line := range lines {
		if line.Source != "agent" {
			continue
		}
		if found := agentRuns.FindStringSubmatch(line.Text); found != nil {
			r.Job, r.Conclusion = found[1], ""
		}
		if found := agentDone.FindStringSubmatch(line.Text); found != nil {
			r.Job, r.Conclusion = found[1], conclusions[found[2]]
		}
	}
}

func isRunOf(address, target string) bool {
	run, err := url.Parse(address)
	if err != nil {
		return false
	}
	home, err := url.Parse(target)
	return err == nil && run.Scheme == home.Scheme && run.Host == home.Host && address == run.Scheme+"://"+run.Host+run.Path && runPath.MatchString(run.Path)
}
