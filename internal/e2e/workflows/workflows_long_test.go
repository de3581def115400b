//go:build linux && long

package workflows

import (
	"testing"
)

// The workflows of the suite that install hundreds of megabytes.
func TestWorkflowsLong(t *testing.T) {
	suite := newSuite(t, 2)
	suite.runAll(t, func(w workflow) bool { return w.long })
}
