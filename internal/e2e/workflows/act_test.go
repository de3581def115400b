//go:build linux

package workflows

import (
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

func here(t *testing.T, args ...string) (code int, stdout, stderr string) {
	return e2e.Runnerctl(t.Context(), args...)
}

// nektos/act reads workflow files with its own code. A runner meets the
// requirements of the suite's workflows.
func TestWorkflowsByAct(t *testing.T) {
	e2e.RunnerImage(t) // also makes the base of the suite's images
	api := e2e.Engine(t)
	mirror := e2e.ImageMirror(t, api)
	fleet := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", "runners: {dockerd: "+pullFrom(mirror)+"}\n")
	e2e.Must(t, e2e.Up(fleet)...)
	runner := e2e.List(t, fleet)[0].Name
	act := e2e.NewByAct(t, here, runner)
	for name := range e2e.ActWorkflows {
		t.Run(name, func(t *testing.T) { act.Workflow(t, name) })
	}
}
