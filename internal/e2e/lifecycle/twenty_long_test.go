//go:build linux && long

package lifecycle

import (
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestTwentyRunners(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	networks := networkNames(t, api)
	e2e.Must(t, e2e.Up(name, "--count", "20")...)
	runners := e2e.List(t, name)
	if len(runners) != 20 {
		t.Errorf("%d runners, want 20", len(runners))
	}
	e2e.Must(t, "down", "--fleet", name)
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left := e2e.ProcessesOf(t, e2e.IDs(runners)); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
	if after := networkNames(t, api); after != networks {
		t.Errorf("networks before: %s, after: %s, want the same", networks, after)
	}
}

func networkNames(t *testing.T, api *client.Client) string {
	t.Helper()
	list, err := api.NetworkList(t.Context(), network.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range list {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
