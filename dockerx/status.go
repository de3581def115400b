package dockerx

import (
	"encoding/json"
	"fmt"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// statusReport is the output of the image's status program. A job can forge every value that
// comes from its machine, except Problem and Starting.
type statusReport struct {
	Version    string `json:"version"`    // of the inner daemon
	Containers int    `json:"containers"` // running ones
	Processes  int    `json:"processes"`  // of the user runner, without the agent
	Restarts   int    `json:"restarts"`   // of the inner daemons
	DiskFree   int64  `json:"disk_free"`  // bytes free for the daemon's data
	Waiting    int    `json:"waiting"`    // 1: the agent waits for its credential
	Starting   int    `json:"starting"`   // 1: the daemon has not been ready yet
	Problem    string `json:"problem"`    // why jobs can't use the daemon; "" if they can
}

// parseStatus parses a report. It also accepts the space-separated words that older images
// print instead of JSON.
func parseStatus(text string) (statusReport, error) {
	var report statusReport
	if len(text) > 0 && text[0] == '{' {
		err := json.Unmarshal([]byte(text), &report)
		return report, err
	}
	var agent string
	_, err := fmt.Sscan(text, &report.Version, &report.Containers, &report.Processes, &report.Restarts, &report.DiskFree)
	if err != nil {
		return report, fmt.Errorf("status %q: %w", text, err)
	}
	if _, err := fmt.Sscan(text, new(string), new(int), new(int), new(int), new(int64), &agent); err == nil && agent == "waiting" {
		report.Waiting = 1
	}
	return report, nil
}

// describe copies the report into runner.
func (s statusReport) describe(runner *fleet.Runner) {
	runner.DockerVersion, runner.Restarts, runner.DiskFree, runner.Problem = s.Version, s.Restarts, s.DiskFree, s.Problem
	runner.Ready = s.Problem == "" && s.Starting == 0
	runner.Busy = runner.Ready && (s.Containers > 0 || s.Processes > 0)
	// Only a container that was created as a spare can wait.
	runner.Waiting = runner.Start == fleet.Spare && s.Waiting == 1
}
