package dockerx

import (
	"encoding/json"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
)

// parseStatus parses the output of the image's status program.
func parseStatus(text string) (report machine.Report, err error) {
	err = json.Unmarshal([]byte(text), &report)
	return report, err
}

// describeInside copies the report into runner.
func describeInside(report machine.Report, runner *fleet.Runner) {
	runner.DockerVersion, runner.Restarts, runner.DiskFree, runner.Problem = report.Version, report.Restarts, report.DiskFree, report.Problem
	runner.Ready = report.Problem == "" && report.Starting == 0
	runner.Busy = runner.Ready && (report.Containers > 0 || report.Processes > 0)
	// Only a container that was created as a spare can wait.
	runner.Waiting = runner.Start == fleet.Spare && report.Waiting == 1
}
