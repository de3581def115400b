package dockerx

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// LogOptions controls how a runner's log is read.
type LogOptions struct {
	Follow bool
	Rest   bool      // also yield a last line without an end
	Tail   int       // lines; below 0: all
	Since  time.Time // zero: from the start
}

func (o LogOptions) wanted() container.LogsOptions {
	wanted := container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: o.Follow}
	if o.Tail >= 0 {
		wanted.Tail = strconv.Itoa(o.Tail)
	}
	if !o.Since.IsZero() {
		wanted.Since = o.Since.Format(time.RFC3339Nano)
	}
	return wanted
}

// Logs reads a runner's log line by line until its end; with Follow, until the container or
// ctx ends.
func (e *Engine) Logs(ctx context.Context, runner fleet.Runner, options LogOptions, yield func(fleet.LogLine)) error {
	wanted := options.wanted()
	wanted.Timestamps = true
	stream, err := e.api.ContainerLogs(ctx, runner.ContainerID, wanted)
	if cerrdefs.IsNotFound(err) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("runner %s: log: %w", runner.Name, err)
	}
	defer stream.Close()
	stdout, stderr := &logWriter{runner: runner.Name, yield: yield}, &logWriter{runner: runner.Name, yield: yield}
	if _, err := stdcopy.StdCopy(stdout, stderr, stream); err != nil && ctx.Err() == nil {
		return fmt.Errorf("runner %s: log: %w", runner.Name, err)
	}
	if options.Rest || options.Follow && ctx.Err() == nil {
		stdout.end()
		stderr.end()
	}
	return nil
}

// longestLine bounds the bytes that are kept of a line without an end.
const longestLine = 1 << 20

// logWriter joins the messages that stdcopy writes into lines. Each Write is one message of
// the engine: a time and a piece of at most 16 KiB. The pieces of one line have the same
// time, and the last one has a line end.
type logWriter struct {
	runner string
	yield  func(fleet.LogLine)
	begun  bool
	at     time.Time
	text   bytes.Buffer
}

func (w *logWriter) Write(message []byte) (int, error) {
	stamp, piece, found := bytes.Cut(message, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if !found || err != nil {
		return 0, fmt.Errorf("no time in %q", message)
	}
	if w.begun && !at.Equal(w.at) {
		w.end() // its writer died within the line
	}
	w.begun, w.at = true, at.UTC()
	if w.text.Len() < longestLine {
		w.text.Write(piece)
	}
	if bytes.HasSuffix(piece, []byte("\n")) {
		w.end()
	}
	return len(message), nil
}

func (w *logWriter) end() {
	if w.begun {
		w.yield(fleet.ParseLogLine(w.at, w.runner, string(bytes.TrimRight(w.text.Bytes(), "\r\n"))))
	}
	w.begun = false
	w.text.Reset()
}
