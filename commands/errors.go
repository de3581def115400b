package commands

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// advised adds advice to an error. The cure of a known fault goes before the error's own, more
// general hint.
func advised(err error) error {
	err = dockerx.Plain(err)
	var away *dockerx.HostError
	if errors.As(err, &away) {
		return err
	}
	var here *fs.PathError
	if errors.As(err, &here) && errors.Is(err, syscall.ENOSPC) {
		return hint.Add(err, "no space left on this machine for "+here.Path)
	}
	if known := doctor.Explain(hint.Text(err)); known != nil {
		return hint.Add(err, known.Cause+": "+known.Cure)
	}
	switch {
	case hint.Of(err) != "":
		return err
	case dockerx.IsForbidden(err):
		return hint.Add(err, "this user may not open the engine's socket: sudo usermod -aG docker $USER, then log in again (members of that group are root on the machine)")
	case dockerx.IsUnreachable(err):
		return hint.Add(err, "check that the Docker Engine is running and that --host, DOCKER_HOST or the docker context is correct; run runnerctl doctor")
	}
	return err
}
