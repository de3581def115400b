//go:build linux && long

package compatibility

import (
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// The inputs also hold with the newest Debian.
func TestInputsOnSid(t *testing.T) {
	showInputs(t, e2e.MakeBase(t, e2e.Engine(t), "sid"))
}
