// Package advice adds advice to errors before people see them: the cure of a known fault, or a
// command that helps. It is the only room that names command lines of runnerctl for the errors
// of others. It may import everything but commands and internal/cmdline.
package advice

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Print prints each of the errors that err joins, with advice. It leaves out session.ErrFailed,
// whose problem is already reported.
func Print(w io.Writer, theme ui.Theme, err error) {
	for _, one := range session.Flatten(err) {
		if one != nil && !errors.Is(one, session.ErrFailed) {
			ui.Error(w, theme, Add(one))
		}
	}
}

// Add adds advice to an error. The cure of a known fault goes before the error's own, more
// general hint.
func Add(err error) error {
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
	if text := commandIn(err); text != "" {
		return hint.Add(err, text)
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
