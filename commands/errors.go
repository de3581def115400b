package commands

import (
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// engineError adds to an engine's error what to do about it.
func engineError(err error) error {
	switch {
	case err == nil:
		return nil
	case dockerx.IsUnreachable(err):
		return ui.Hinted(err, "is the Docker Engine running, and DOCKER_HOST or the docker context right? runnerctl doctor tells")
	}
	return err
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
