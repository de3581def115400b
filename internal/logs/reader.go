package logs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// reader reads one runner's log: first the existing lines, then new ones.
type reader struct {
	options Runners
	engine  *dockerx.Engine
	runner  fleet.Runner
	record  *fleet.Record // set if the runner is gone
	cursor  fleet.Cursor
}

func (r *reader) wanted(line fleet.LogLine) bool {
	return len(r.options.Sources) == 0 || slices.Contains(r.options.Sources, line.Source)
}

// pieces is the number of 16 KiB pieces of the longest line that is kept whole.
const pieces = 64

// history reads the existing lines.
func (r *reader) history(ctx context.Context, yield func(fleet.LogLine)) error {
	more := r.options.Follow && r.runner.State == fleet.Running
	wanted := dockerx.LogOptions{Rest: !more, Tail: r.options.Tail, Since: r.options.Since}
	// The engine counts the lines of every source, and counts a long line by its pieces.
	if len(r.options.Sources) > 0 {
		wanted.Tail = -1
	} else if wanted.Tail >= 0 {
		wanted.Tail += pieces
	}
	tail := fleet.NewTail(r.options.Tail)
	err := r.read(ctx, wanted, func(line fleet.LogLine) {
		r.cursor.New(line)
		switch {
		case !r.wanted(line):
		case r.options.Tail < 0:
			yield(line)
		default:
			tail.Add(line)
		}
	})
	if r.options.Tail >= 0 {
		for _, line := range tail.Lines() {
			yield(line)
		}
	}
	return err
}

// read reads from the runner, or from its record if it is gone.
func (r *reader) read(ctx context.Context, wanted dockerx.LogOptions, yield func(fleet.LogLine)) error {
	if r.record == nil {
		return r.engine.Logs(ctx, r.runner, wanted, yield)
	}
	for _, line := range linesOf(r.record, slices.Contains(r.options.Sources, fleet.Diagnostics)) {
		if !line.Time.Before(wanted.Since) {
			yield(line)
		}
	}
	return nil
}

// follow reads new lines until the runner ends.
func (r *reader) follow(ctx context.Context, yield func(fleet.LogLine)) error {
	for r.record == nil {
		since := r.cursor.Since()
		if since.IsZero() {
			since = r.options.Since
		}
		err := r.engine.Logs(ctx, r.runner, dockerx.LogOptions{Follow: true, Tail: -1, Since: since}, func(line fleet.LogLine) {
			if r.cursor.New(line) && r.wanted(line) {
				yield(line)
			}
		})
		if err != nil || ctx.Err() != nil {
			return err
		}
		// The stream ends with the container; the engine may start it again.
		runner, err := r.engine.Runner(ctx, r.runner.Name)
		if err != nil || runner.ContainerID != r.runner.ContainerID || runner.State != fleet.Running && runner.State != fleet.Restarting {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}

// linesOf returns the log lines of a record and, with diagnostics, the agent's own lines,
// whose only time is the runner's end.
func linesOf(record *fleet.Record, diagnostics bool) []fleet.LogLine {
	lines := record.LogLines()
	if !diagnostics {
		return lines
	}
	end := record.Finished
	if end.IsZero() && len(lines) > 0 {
		end = lines[len(lines)-1].Time
	}
	for line := range strings.Lines(string(record.Diagnostics)) {
		lines = append(lines, fleet.LogLine{Time: end, Runner: record.Name, Source: fleet.Diagnostics, Text: strings.TrimSuffix(line, "\n")})
	}
	return lines
}
