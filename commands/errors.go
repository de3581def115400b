package commands

import (
	"errors"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// knownFaults are the engine's own words and what to do about them.
var knownFaults = []struct{ words, hint string }{
	{"no space left on device", "the engine's disk is full: docker system df tells what takes the space, docker system prune frees what nothing uses"},
	{"no available IPv4 addresses", "the engine's bridge has no address left: a larger \"bip\" in its daemon.json, or fewer containers"},
	{"could not find an available, non-overlapping IPv4 address pool", "the engine's address pools are used up: docker network prune, or more \"default-address-pools\" in its daemon.json"},
}

// advised adds to an error what to do about it: a known fault's cure goes
// before the error's own, more general hint.
func advised(err error) error {
	told := []string{err.Error()}
	var cause interface{ Cause() string }
	if errors.As(err, &cause) {
		told = append(told, cause.Cause())
	}
	var last interface{ Last() []string }
	if errors.As(err, &last) {
		told = append(told, last.Last()...)
	}
	text := strings.Join(told, "\n")
	for _, known := range knownFaults {
		if strings.Contains(text, known.words) {
			return ui.Hinted(err, known.hint)
		}
	}
	var hint interface{ Hint() string }
	switch {
	case errors.As(err, &hint) && hint.Hint() != "":
		return err
	case dockerx.IsForbidden(err):
		return ui.Hinted(err, "this user may not open the engine's socket: sudo usermod -aG docker $USER, then log in again (members of that group are root on the machine)")
	case dockerx.IsUnreachable(err):
		return ui.Hinted(err, "is the Docker Engine running, and DOCKER_HOST or the docker context right? runnerctl doctor tells")
	}
	return err
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
