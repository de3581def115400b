//go:build !linux

package commands

import "github.com/runnerctl/runnerctl/internal/doctor"

// readLocal has nothing to read: a local engine is refused here (doctor, host.os).
func readLocal(*doctor.Facts) {}
