//go:build linux && long

package compatibility

import (
	"context"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// Nothing that one job of a static runner leaves affects later jobs. One runner runs all
// these jobs in turn.
func TestStaticRunner(t *testing.T) {
	_, github, name := e2e.EnterpriseServer(t, ghsim.Options{}, "acme/api", "runners: {ephemeral: false}")
	e2e.Must(t, e2e.Up(name)...)
	job := func(t *testing.T, script string) {
		t.Helper()
		id := e2e.Queue(t, github, staticPrelude+e2e.Prelude+script)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // some install a package
		defer cancel()
		result, err := github.Wait(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if result.Conclusion != "success" {
			t.Errorf("%s, want success\n%s", result.Conclusion, result.Log)
		}
	}
	job(t, "sudo mkdir -p /canary/api/api/deep && sudo touch /canary/file /canary/api/api/file /canary/api/api/deep/file")
	for _, one := range staticSpoils {
		t.Run(one.ID, func(t *testing.T) {
			job(t, one.First)
			job(t, `[ -z "$(ls -A)" ]; [ -e /canary/file ]; [ -e /canary/api/api/file ]; [ -e /canary/api/api/deep/file ]; none grep /canary /proc/self/mountinfo`+"\n"+one.Next)
		})
	}
}

const staticPrelude = `none() { ! "$@"; }
networks() { docker network ls --filter type=custom --format '{{.Name}}' | grep -vx docker_gwbridge || true; }
# nothing COMMAND… fails if the command prints something.
nothing() {
	local left
	left=$("$@")
	[ -z "$left" ] || { echo "$* prints $left" >&2; return 1; }
}
`

// A mount over the work folder keeps the agent from its jobs. It is unmounted when no job
// runs, and nothing that is mounted there is deleted.
func TestStaticRunnerWithAMountOverItsWork(t *testing.T) {
	_, github, name := e2e.EnterpriseServer(t, ghsim.Options{}, "acme/api", "runners: {ephemeral: false}")
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name
	const script = `sudo mkdir -p /canary/api/api/deep && sudo touch /canary/api/api/deep/file && sudo mount --bind /canary "$(realpath "$RUNNER_WORKSPACE/..")"`
	e2e.AwaitJob(t, github, e2e.Queue(t, github, script))
	e2e.Eventually(t, time.Minute, "the mount goes", func() bool {
		code, _, _ := e2e.Runnerctl(t.Context(), "exec", runner, "--", "grep", "-q", "/canary", "/proc/self/mountinfo")
		return code == 1
	})
	if result := e2e.AwaitJob(t, github, e2e.Queue(t, github, `[ -e /canary/api/api/deep/file ]; [ -z "$(ls -A)" ]; docker version`)); result.Conclusion != "success" {
		t.Errorf("%s, want success\n%s", result.Conclusion, result.Log)
	}
}
