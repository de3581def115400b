//go:build linux

package supervision

import (
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

func TestRecordsAfterDamage(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{SessionTimeout: 5 * time.Second, PollTimeout: 2 * time.Second}, "acme/api", "runners: {count: 2}")
	s := supervise(t, api, github, name)
	state := s.engine.State(name)
	for _, damage := range []struct{ name, script string }{
		{"files", "sudo rm -rf /usr/lib/runnerctl /usr/bin/perl /bin/bash"},
		{"processes", "sudo kill -9 -1"},
		{"socket", "sudo mv /run/docker.sock /run/x"},
		{"run", "sudo umount -l /run"},
	} {
		t.Run(damage.name, func(t *testing.T) {
			e2e.AwaitOnline(t, github, 2)
			result := e2e.AwaitJob(t, github, e2e.Queue(t, github, damage.script))
			var record *fleet.Record
			e2e.Eventually(t, time.Minute, "the record of "+result.Runner, func() bool {
				var err error
				if record, err = state.Record(t.Context(), result.Runner); err != nil {
					t.Fatal(err)
				}
				return record != nil
			})
			t.Logf("result %+v\nconclusion %q, verdict %q, cause %q\n%s\nDIAG %s", result, record.Conclusion, record.Verdict, record.Cause, record.Log, record.Diagnostics)
		})
	}
	s.down()
}
