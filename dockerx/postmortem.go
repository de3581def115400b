package dockerx

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	diagnostics = rootfs + home + "/actions-runner/_diag"
	// jobNote is written by the job-started hook.
	jobNote = diagnostics + "/job"
)

const (
	// postMortemLimit bounds the wait for an engine that hangs.
	postMortemLimit = 20 * time.Second
	autopsyLines    = 2000
	// mostRead limits the bytes that are read from the agent's folder, where a job can leave
	// anything.
	mostRead = 64 << 20
)

// PostMortem records how a runner ended. Its container still exists and may still run. Data that
// can't be read is left out of the record. A job may have forged any data that comes from the
// runner.
func (e *Engine) PostMortem(ctx context.Context, runner fleet.Runner) (fleet.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, postMortemLimit)
	defer cancel()
	info, err := e.api.ContainerInspect(ctx, runner.ContainerID)
	if err != nil {
		return fleet.Record{}, fmt.Errorf("runner %s: %w", runner.Name, err)
	}
	record := fleet.Record{
		Name: runner.Name, Fleet: runner.Fleet, Image: runner.Image, ImageID: runner.ImageID, SpecHash: runner.SpecHash,
		Created: runner.Created, OOMKilled: info.State.OOMKilled,
	}
	if started := moment(info.State.StartedAt); started != nil {
		record.Started = *started
	}
	if finished := moment(info.State.FinishedAt); finished != nil && !info.State.Running {
		record.Finished, record.ExitCode = *finished, info.State.ExitCode
		record.Verdict = fleet.Verdict(info.State.ExitCode, info.State.OOMKilled)
	}
	var lines []fleet.LogLine
	log := &end{limit: fleet.PaperSize}
	_ = e.Logs(ctx, runner, LogOptions{Rest: true, Tail: autopsyLines}, func(line fleet.LogLine) {
		lines = append(lines, line)
		fmt.Fprintln(log, line.Paper())
	})
	record.Log = log.lines()
	if runner.Agent.Mode == fleet.NoAgent {
		return record, nil
	}
	note := &Head{Limit: 1 << 10}
	_ = e.files(ctx, runner.ContainerID, jobNote, func(_ string, content io.Reader) error {
		_, err := io.Copy(note, content)
		return err
	})
	record.ReadJob(lines, note.String(), runner.Agent.URL)
	record.Diagnostics = e.diagnostics(ctx, runner)
	return record, nil
}

// diagnostics returns the end of the agent's own last logs: the log of the listener, and the
// log of the worker that had the job.
func (e *Engine) diagnostics(ctx context.Context, runner fleet.Runner) []byte {
	last := map[string]*end{}
	_ = e.files(ctx, runner.ContainerID, diagnostics, func(name string, content io.Reader) error {
		kind, _, named := strings.Cut(path.Base(name), "_")
		if !named || kind != "Runner" && kind != "Worker" || path.Ext(name) != ".log" {
			return nil
		}
		// Two logs fit, each with its title. The names of one kind are in order of time, so
		// the last one is kept.
		last[kind] = &end{limit: fleet.PaperSize/2 - 256, title: path.Base(name)}
		_, err := io.Copy(last[kind], content)
		return err
	})
	var all bytes.Buffer
	for _, kind := range []string{"Runner", "Worker"} {
		if paper := last[kind]; paper != nil {
			fmt.Fprintf(&all, "==> %.200s <==\n%s\n", paper.title, bytes.TrimSuffix(paper.lines(), []byte("\n")))
		}
	}
	return all.Bytes()
}

var errEnough = errors.New("more than is read")

// files reads the regular files at a path of a container through the engine's archive API, up
// to mostRead bytes.
func (e *Engine) files(ctx context.Context, id, from string, read func(name string, content io.Reader) error) error {
	stream, _, err := e.api.CopyFromContainer(ctx, id, from)
	if err != nil {
		return err
	}
	defer stream.Close()
	archive := tar.NewReader(&cutOff{reader: stream, left: mostRead})
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := read(header.Name, archive); err != nil {
			return err
		}
	}
}

// cutOff is a reader that fails at its limit, where io.LimitReader would report a normal end.
type cutOff struct {
	reader io.Reader
	left   int
}

func (c *cutOff) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errEnough
	}
	n, err := c.reader.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// end is a writer that keeps the end of its input.
type end struct {
	limit int
	title string
	kept  []byte
	cut   bool
}

func (e *end) Write(p []byte) (int, error) {
	e.kept = append(e.kept, p...)
	if len(e.kept) > 2*e.limit { // now and then, not for every line
		e.trim()
	}
	return len(p), nil
}

func (e *end) trim() {
	if extra := len(e.kept) - e.limit; extra > 0 {
		e.kept, e.cut = append([]byte{}, e.kept[extra:]...), true
	}
}

// lines returns the kept text without a first line that was cut.
func (e *end) lines() []byte {
	e.trim()
	if !e.cut {
		return e.kept
	}
	if _, rest, found := bytes.Cut(e.kept, []byte("\n")); found {
		return rest
	}
	return e.kept
}
