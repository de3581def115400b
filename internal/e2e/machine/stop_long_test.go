//go:build linux && long

package machine

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// A stop is not lost at any moment of a start.
func TestStopAtAnyMoment(t *testing.T) {
	const moments = 50
	const limit = 3 * 2 * time.Second // three times the goal
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].ContainerID
	if err := api.ContainerStop(t.Context(), runner, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	var all []time.Duration
	for range moments {
		if err := api.ContainerStart(t.Context(), runner, container.StartOptions{}); err != nil {
			t.Fatal(err)
		}
		after := rand.N(1500 * time.Millisecond) //nolint:gosec // moments need no secrecy
		time.Sleep(after)
		began := time.Now()
		if err := api.ContainerStop(t.Context(), runner, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		all = append(all, took)
		if took > limit {
			t.Errorf("a stop %s after the start took %s, want at most %s\n%s", after, took, limit, e2e.ContainerLog(t, api, runner))
		}
	}
	slices.Sort(all)
	t.Logf("%d stops: median %s, longest %s", moments, all[moments/2], all[moments-1])
}
