package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// These scripts run in a runner's machine.
const (
	lookAt   = `if [ -d "$1" ]; then echo folder; elif [ -e "$1" ] || [ -L "$1" ]; then echo file; else echo nothing; fi; readlink -f -- "$1" || true`
	unpackIn = `export LC_ALL=C.UTF-8
exec tar -x -p --no-same-owner --no-overwrite-dir -f - -C "$1"`
	packOut = `export LC_ALL=C.UTF-8
path=$1
[ "$2" = no ] || path=$(readlink -e -- "$path") || { echo "$1: no such file or folder" >&2; exit 2; }
if [ "$3" = yes ]; then dir=$path base=.; else dir=$(dirname -- "$path") base=$(basename -- "$path"); fi
code=0
tar -c --format=posix --hard-dereference -f - -C "$dir" -- "$base" || code=$?
[ "$code" -ne 1 ] || exit 0 # a file that grew meanwhile: a log
exit "$code"`
)

// maxText limits the text that is kept of a command's output, in bytes.
const maxText = 64 << 10

// machine runs commands in a runner's machine.
type machine struct {
	engine *dockerx.Engine
	runner fleet.Runner
	root   bool
}

// run returns the error output of a failed command as its error.
func (m machine) run(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	stderr := &dockerx.Head{Limit: maxText}
	code, err := m.engine.Exec(ctx, m.runner, dockerx.Command{Args: args, Root: m.root, Stdin: stdin, Stdout: stdout, Stderr: stderr})
	if err != nil || code == 0 {
		return err
	}
	for line := range strings.Lines(stderr.String()) {
		if line = ui.Plain(strings.TrimSpace(line)); line != "" {
			return errors.New(strings.TrimPrefix(line, "tar: "))
		}
	}
	return fmt.Errorf("%s: exit code %d", args[0], code)
}

// find returns the state of a path and the path that its links lead to, if they lead somewhere.
func (m machine) find(ctx context.Context, path string) (found, resolved string, err error) {
	answer := &dockerx.Head{Limit: maxText}
	err = m.run(ctx, nil, answer, "sh", "-c", lookAt, "sh", path)
	found, resolved, _ = strings.Cut(strings.TrimSuffix(answer.String(), "\n"), "\n")
	return found, resolved, err
}
