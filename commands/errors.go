package commands

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"syscall"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// advised adds to an error what to do about it: a known fault's cure goes
// before the error's own, more general hint.
func advised(err error) error {
	err = plain(err)
	var away *dockerx.HostError
	if errors.As(err, &away) {
		return err
	}
	var here *fs.PathError
	if errors.As(err, &here) && errors.Is(err, syscall.ENOSPC) {
		return hint.Add(err, "this side has no room for "+here.Path)
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
		return hint.Add(err, "is the Docker Engine running, and --host, DOCKER_HOST or the docker context right? runnerctl doctor tells")
	}
	return err
}

// plain takes out what the engine's client says of its requests, their addresses.
func plain(err error) error {
	text := clientWords.ReplaceAllString(err.Error(), "")
	if text == err.Error() {
		return err
	}
	return &reworded{err, text}
}

type reworded struct {
	error
	text string
}

func (e *reworded) Error() string { return e.text }
func (e *reworded) Unwrap() error { return e.error }

var clientWords = regexp.MustCompile(`error during connect: |[A-Z][a-z]+ "https?://[^"]*": `)

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// unadorned is the host's own error where there is one.
func unadorned(err error) error {
	var away *dockerx.HostError
	if errors.As(err, &away) {
		return away
	}
	return plain(err)
}
