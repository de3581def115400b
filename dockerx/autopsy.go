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
	diagnostics = world + home + "/actions-runner/_diag"
	// jobNote is written by the hook job-started.
	jobNote = diagnostics + "/job"
)

const (
	// autopsyLimit is for an engine that hangs.
	autopsyLimit = 20 * time.Second
	autopsyLines = 2000
	// mostRead of what a job may have left in the agent's folder.
	mostRead = 64 << 20
)

// Autopsy tells what became of a runner, whose container is still there and may
// still run. What could not be read is left out of the record. Whatever the runner
// tells its jobs may have written.
func (e *Engine) Autopsy(ctx context.Context, runner fleet.Runner) (fleet.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, autopsyLimit)
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

// diagnostics is the end of the agent's own last logs: the listener's, and that of
// the worker that had the job.
func (e *Engine) diagnostics(ctx context.Context, runner fleet.Runner) []byte {
	last := map[string]*end{}
	_ = e.files(ctx, runner.ContainerID, diagnostics, func(name string, content io.Reader) error {
		kind, _, named := strings.Cut(path.Base(name), "_")
		if !named || kind != "Runner" && kind != "Worker" || path.Ext(name) != ".log" {
			return nil
		}
		// Two fit, each with its title. Of several of a kind the names are in the order
		// of time.
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

// files reads the regular files at a path of a container by the engine's archive
// API, as far as mostRead.
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

// cutOff is a reader that fails where io.LimitReader would seem to end well.
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

// end keeps the end of what is written to it.
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

// lines are whole ones.
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
