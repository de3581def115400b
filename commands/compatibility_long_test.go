//go:build linux && long

package commands

import "testing"

// The inputs hold with the newest Debian, too.
func TestInputsOnSid(t *testing.T) { showInputs(t, newestBase) }
