//go:build linux && long

package workflows

import (
	"testing"
)

// The workflows of the suite that take more than a minute.
func TestWorkflowsLong(t *testing.T) {
	suite := newSuite(t, 3)
	suite.runAll(t, func(w workflow) bool { return w.long })
}
