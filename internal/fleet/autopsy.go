package fleet

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Paper is the line as a record keeps it.
func (l LogLine) Paper() string {
	return l.Time.Format(time.RFC3339Nano) + " " + l.Source + ": " + l.Text
}

// LogLines are those of the record's log.
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
	// conclusions are GitHub's words for the agent's.
	conclusions = map[string]string{"Succeeded": "success", "SucceededWithIssues": "success", "Failed": "failure", "Abandoned": "failure", "Canceled": "cancelled", "Skipped": "skipped"}
	jobName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,99}$`)
	runPath     = regexp.MustCompile(`^(/[A-Za-z0-9_.-]{1,100}){2}/actions/runs/[0-9]{1,20}/attempts/[0-9]{1,10}$`)
)

// ReadJob takes the runner's last job from its log, in which the agent's lines are
// the agent's alone, and from the note of the job-started hook, "URL NAME": any job
// can forge that, so it is believed only where it names a run of the host of target.
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
