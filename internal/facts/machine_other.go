//go:build !linux

package facts

import (
	"errors"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
)

// An engine's machine is never this one: doctor refuses a local engine (host.os).
func isHere(dockerx.Endpoint, dockerx.Facts) bool { return false }

func machineHere(dockerx.Endpoint) doctor.Machine { return doctor.Machine{} }

func spaceHere(dockerx.Endpoint, string) (doctor.Space, error) {
	return doctor.Space{}, errors.ErrUnsupported
}

func spaceAt(string) (doctor.Space, error) { return doctor.Space{}, errors.ErrUnsupported }
