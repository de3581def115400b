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
