// Package transfer copies files between this machine and runners: in both directions for a
// running runner, and a folder into a runner that has not run a command yet. It imports dockerx,
// templates and internal/{archive,fleet,session,ui}.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/runnerctl/runnerctl/internal/archive"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Copy is a copy between this machine and a running runner.
type Copy struct {
	From, To Place
	Root     bool // read and write as root of the runner
	Follow   bool // follow the source if it is a link
}

// Check returns why the copy is not possible, without a look at either side.
func (c Copy) Check(streams ui.Streams) error {
	switch {
	case c.From.Runner == "" && c.To.Runner == "":
		return errors.New("the source or the destination must be in a runner: NAME:PATH")
	case c.From.Runner != "" && c.To.Runner != "":
		return errors.New("the source or the destination must be on this machine")
	case c.From.Path == "" || c.To.Path == "":
		return errors.New("a path is missing")
	case c.To.Runner == "" && c.To.Path == "-" && streams.OutTTY:
		return errors.New("refusing to write a tar stream to a terminal: redirect or pipe it")
	}
	return nil
}

// Run makes the copy and reports it on the session's error stream.
//
// It streams tar through a command inside the runner's machine, not through the engine's
// archive API. That API resolves paths from outside, so a symbolic link made by a job
// (/var/run → /run is enough) would lead into the outer tree. It also sees none of the
// machine's own mounts. Inside, the kernel resolves each path in the job root filesystem and
// with the rights of the user runner.
func (c Copy) Run(ctx context.Context, s session.Session) error {
	engine, runner, err := s.FindRunning(ctx, c.From.Runner+c.To.Runner)
	if err != nil {
		return err
	}
	defer engine.Close()
	own := copying{c, s.Streams, machine{engine, runner, c.Root}}
	copyAll := own.in
	if c.From.Runner != "" {
		copyAll = own.out
	}
	summary, err := copyAll(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("copy %s to %s: %w", c.From, c.To, err)
	}
	writeSkipped(s.Streams.Err, summary)
	fmt.Fprintf(s.Streams.Err, "copied %d file%s (%s) to %s\n", summary.Files, ui.Plural(summary.Files), ui.Bytes(summary.Bytes), c.To)
	return nil
}

// copying is a copy under way.
type copying struct {
	Copy
	streams ui.Streams
	machine machine
}

// writeSkipped names the files that were left out.
func writeSkipped(out io.Writer, summary archive.Summary) {
	const most = 10
	for _, one := range summary.Skipped[:min(most, len(summary.Skipped))] {
		fmt.Fprintf(out, "skipped %s\n", ui.Plain(one))
	}
	if more := len(summary.Skipped) - most; more > 0 {
		fmt.Fprintf(out, "skipped %d more\n", more)
	}
}
