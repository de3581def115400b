//go:build linux && long

package lifecycle

import (
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// After runnerctl is killed at any moment of an up or a down, the next up makes the whole
// fleet and nothing more, and the next down leaves nothing.
func TestKilledAtRandomMoments(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	killAtRandom(t, api, e2e.NewFleet(t, api), nil)
}
