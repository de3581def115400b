//go:build linux

package commands

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// withGitHub is a fleet's name whose runners hold the test agent and take their
// jobs from a stand-in that they reach over the bridge.
func withGitHub(t *testing.T, options ghsim.Options, target string, more ...string) (*client.Client, *ghsim.Server, string) {
	t.Helper()
	api := realEngine(t)
	bridge, err := api.NetworkInspect(t.Context(), "bridge", network.InspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	options.RunnerAddress = bridge.IPAM.Config[0].Gateway + ":0"
	archive := agenttest.Archive(t)
	name := newFleet(t, api)
	github := newGitHub(t, options, target, append(more, fmt.Sprintf("image: {agent: {archive: %s}}", archive))...)
	return api, github, name
}

func TestFleetWithGitHub(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api", "runners: {labels: [gpu]}")
	must(t, up(name, "--count", "3")...)
	first := list(t, name)
	var names []string
	for _, runner := range first {
		names = append(names, runner.Name)
		if runner.Listing == nil || runner.Listing.State != fleet.Online || runner.Listing.ID == 0 || runner.Busy || !runner.Ready {
			t.Errorf("%+v %+v", runner, runner.Listing)
		}
		inspectSecurity(t, api, runner)
	}
	slices.Sort(names)
	if got := registered(github); !slices.Equal(got, names) || len(got) != 3 {
		t.Errorf("GitHub lists %v, the engine has %v", got, names)
	}
	for _, one := range github.Runners() {
		if !one.Ephemeral || !slices.Contains(one.Labels, "gpu") || !slices.Contains(one.Labels, "self-hosted") || !one.Online {
			t.Errorf("%+v", one)
		}
	}
	must(t, up(name, "--count", "3")...)
	if got := ids(list(t, name)); !slices.Equal(got, ids(first)) {
		t.Error("a second up changed the fleet")
	}

	// A job ends its runner; up fills the gap and tells how the last one ended.
	id, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted", "gpu"}, Steps: []ghsim.Step{{Run: "docker version --format '{{.Server.Version}}'; sudo id -u"}}})
	if err != nil {
		t.Fatal(err)
	}
	result := await(t, github, id)
	if result.Conclusion != "success" || !slices.Contains(names, result.Runner) {
		t.Fatalf("%+v", result)
	}
	eventually(t, 20*time.Second, "the runner ends", func() bool {
		return slices.ContainsFunc(list(t, name), func(one fleet.Runner) bool { return one.Name == result.Runner && one.State == fleet.Exited })
	})
	if plan := must(t, up(name, "--count", "3", "--dry-run")...); !strings.Contains(plan, "remove  "+result.Runner+"  (it ended") || strings.Count(plan, "create") != 1 || strings.Count(plan, "keep") != 2 {
		t.Errorf("plan:\n%s", plan)
	}
	must(t, up(name, "--count", "3")...)
	if got := registered(github); len(got) != 3 || slices.Contains(got, result.Runner) {
		t.Errorf("GitHub lists %v", got)
	}
	must(t, "down", "--fleet", name)
	if got := registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}
