//go:build linux && long

package supervision

import (
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// The record of a runner that its job damaged names the damage.
func TestRecordsAfterDamage(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{SessionTimeout: 5 * time.Second, PollTimeout: 2 * time.Second, JobLock: 5 * time.Second}, "acme/api", "runners: {count: 2}")
	s := supervise(t, api, github, name)
	state := s.engine.State(name)
	for _, damage := range []struct{ name, script, conclusion, verdict, log string }{
		{"files", "sudo rm -rf /usr/lib/runnerctl /usr/bin/perl /bin/bash", "failure", "done", "start: a job removed /usr/lib/runnerctl/hooks/job-completed.sh"},
		{"processes", "sudo sh -c 'kill -9 -1'", "", "killed", "agent: ended with code 137"},
		{"socket", "sudo mv /run/docker.sock /run/x", "success", "done", "agent: ended with code 0"},
		{"run", "sudo umount -l /run", "success", "done", "agent: ended with code 0"},
	} {
		t.Run(damage.name, func(t *testing.T) {
			e2e.AwaitOnline(t, github, 2)
			id := e2e.Queue(t, github, damage.script)
			var record *fleet.Record
			e2e.Eventually(t, time.Minute, "the record of the job's runner", func() bool {
				result, _ := github.Result(id)
				if result.Runner == "" {
					return false
				}
				var err error
				if record, err = state.Record(t.Context(), result.Runner); err != nil {
					t.Fatal(err)
				}
				return record != nil
			})
			if record.Conclusion != damage.conclusion || !strings.Contains(record.Verdict, damage.verdict) || !strings.Contains(string(record.Log), damage.log) {
				t.Errorf("conclusion %q, verdict %q, cause %q, log:\n%s\nwant %q, %q and %q", record.Conclusion, record.Verdict, record.Cause, record.Log, damage.conclusion, damage.verdict, damage.log)
			}
		})
	}
	e2e.Eventually(t, time.Minute, "GitHub gives up the job of the killed agent", func() bool { return len(github.Runners()) == 2 })
	s.down()
}
