//go:build linux && long

package commands

import (
	"slices"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// Twenty warm runners, a job each: from the queue to the first step's start.
func TestTwentyJobsStartAtOnce(t *testing.T) {
	const count = 20
	_, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	must(t, up(name, "--count", "20", "--timeout", "5m")...)
	var waits []time.Duration
	for range count {
		id, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted"}, Steps: []ghsim.Step{{Run: "docker info >/dev/null"}}})
		if err != nil {
			t.Fatal(err)
		}
		result := await(t, github, id)
		if result.Conclusion != "success" {
			t.Fatalf("%+v", result)
		}
		waits = append(waits, result.FirstStep.Sub(result.Queued))
	}
	slices.Sort(waits)
	t.Logf("queued to first step: median %s, longest %s", waits[count/2], waits[count-1])
	if waits[count/2] > time.Second {
		t.Errorf("queued to first step: %v", waits)
	}
	must(t, "down", "--fleet", name)
	if left := registered(github); len(left) > 0 {
		t.Errorf("left at GitHub: %v", left)
	}
}
