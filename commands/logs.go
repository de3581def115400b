package commands

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type logsOptions struct {
	fleet      string
	names      []string // none for all of the fleet
	follow     bool
	tail       int       // lines of each runner; all if negative
	since      time.Time // zero for the start
	sources    []string  // none for all
	timestamps bool
	json       bool
	theme      ui.Theme
}

func logsCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "logs",
		Category:  "Look inside",
		Usage:     "show the logs of runners: start, containerd, dockerd and agent",
		ArgsUsage: "[NAME…]",
		Description: "Without a NAME, shows the logs of the whole fleet in order of time. For a removed runner, shows the log that its supervisor kept.\n\nExamples:\n" +
			"   runnerctl logs -f\n" +
			"   runnerctl logs --source dockerd --since 10m ci-7k2p",
		Flags: append(flags.Config(),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "follow the logs until Ctrl-C, or until every runner has ended"},
			&cli.IntFlag{Name: "tail", Usage: "show the last `N` lines of each runner", DefaultText: "all"},
			&cli.StringFlag{Name: "since", Usage: "show lines since `TIME`: a duration (10m) or RFC 3339"},
			&cmdline.Choice{Flag: &cli.StringSliceFlag{Name: "source", Usage: "show only this `SOURCE`, or several separated by commas: " + strings.Join(fleet.Sources, ", ") + "; for a removed runner also " + fleet.Diagnostics}, Candidates: cmdline.Candidates{Words: fleet.Sources}},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "show timestamps", Category: "Output"},
			flags.Color(), flags.Output()),
		Action: func(c *cli.Context) error {
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := logsOptions{
				fleet: loaded.Name, names: unique(c.Args().Slice()...), follow: c.Bool("follow"), tail: -1,
				sources: c.StringSlice("source"), timestamps: c.Bool("timestamps"),
			}
			wrong := func(format string, args ...any) error {
				return &cmdline.UsageError{Command: "logs", Problem: fmt.Sprintf(format, args...)}
			}
			if c.IsSet("tail") {
				if options.tail = c.Int("tail"); options.tail < 0 {
					return wrong("--tail %d: expected 0 or more", options.tail)
				}
			}
			for _, source := range options.sources {
				if !slices.Contains(fleet.Sources, source) && source != fleet.Diagnostics {
					return wrong("--source %q: expected %s, %s", source, strings.Join(fleet.Sources, ", "), fleet.Diagnostics)
				}
			}
			if text := c.String("since"); text != "" {
				if options.since, err = parseSince(text, time.Now()); err != nil {
					return wrong("--since %q: expected a duration (10m) or RFC 3339 (2006-01-02T15:04:05Z)", text)
				}
			}
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			return runLogs(c.Context, s, options)
		},
	}, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Most: anyNumber}}
}

func parseSince(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Parse(time.RFC3339, text)
}

func runLogs(ctx context.Context, s session.Session, options logsOptions) error {
	readers, failed := logged(ctx, s, options)
	defer func() {
		for _, reader := range readers {
			reader.engine.Close()
		}
	}()
	if failed != nil && len(readers) == 0 {
		return failed
	}
	show := newLogPrinter(s.Streams.Out, readers, options)

	// Existing lines of all runners are printed in the order of time.
	var group errgroup.Group
	histories := make([]<-chan fleet.LogLine, len(readers))
	for i, reader := range readers {
		history := make(chan fleet.LogLine, 64)
		histories[i] = history
		group.Go(func() error {
			defer close(history)
			return reader.history(ctx, func(line fleet.LogLine) { history <- line })
		})
	}
	fleet.Merge(histories, show.line)
	if err := group.Wait(); err != nil || ctx.Err() != nil || !options.follow {
		return errors.Join(failed, session.Interrupted(ctx, err))
	}
	for _, reader := range readers {
		group.Go(func() error { return reader.follow(ctx, show.line) })
	}
	return errors.Join(failed, session.Interrupted(ctx, group.Wait()))
}

// logged finds the requested runners on every host, and reports each unknown name. If one host
// fails, the runners of the others are still returned.
func logged(ctx context.Context, s session.Session, options logsOptions) (readers []*logReader, err error) {
	var mu sync.Mutex
	err = session.OnEach(s.Each(), func(s session.Session) error {
		engine, _, err := s.Connect()
		if err != nil {
			return err
		}
		runners, records, err := loggedOn(ctx, engine, options)
		if len(runners) == 0 {
			engine.Close()
		}
		mu.Lock()
		defer mu.Unlock()
		for _, runner := range runners {
			readers = append(readers, &logReader{engine: engine, runner: runner, options: options, record: records[runner.Name]})
		}
		return err
	})
	if err != nil {
		return readers, err
	}
	if len(options.names) == 0 && len(readers) == 0 {
		return nil, hint.Add(fmt.Errorf("fleet %s has no runners", options.fleet), "runnerctl up creates runners, runnerctl ps --all lists the runners of all fleets")
	}
	slices.SortStableFunc(readers, func(a, b *logReader) int {
		if len(options.names) > 0 {
			return cmp.Compare(slices.Index(options.names, a.runner.Name), slices.Index(options.names, b.runner.Name))
		}
		return strings.Compare(a.runner.Name, b.runner.Name)
	})
	var unknown []error
	for _, name := range options.names {
		if !slices.ContainsFunc(readers, func(reader *logReader) bool { return reader.runner.Name == name }) {
			unknown = append(unknown, session.NoRunner(name))
		}
	}
	if len(unknown) > 0 {
		return nil, errors.Join(unknown...)
	}
	return readers, nil
}

// loggedOn is logged for one host. It also returns the records, by name, of runners that are
// gone.
func loggedOn(ctx context.Context, engine *dockerx.Engine, options logsOptions) ([]fleet.Runner, map[string]*fleet.Record, error) {
	if len(options.names) == 0 {
		runners, err := engine.Known(ctx, options.fleet)
		return runners, nil, err
	}
	var runners []fleet.Runner
	records := map[string]*fleet.Record{}
	for _, name := range options.names {
		runner, record, err := session.RunnerOrRecord(ctx, engine, name)
		if err != nil {
			return nil, nil, err
		}
		if runner.ContainerID != "" || record != nil {
			runners = append(runners, runner)
			records[name] = record
		}
	}
	return runners, records, nil
}

// logReader reads one runner's log: first the existing lines, then new ones.
type logReader struct {
	engine  *dockerx.Engine
	runner  fleet.Runner
	options logsOptions
	record  *fleet.Record // set if the runner is gone
	cursor  fleet.Cursor
}

func (r *logReader) wanted(line fleet.LogLine) bool {
	return len(r.options.sources) == 0 || slices.Contains(r.options.sources, line.Source)
}

// pieces is the number of 16 KiB pieces of the longest line that is kept whole.
const pieces = 64

func (r *logReader) history(ctx context.Context, yield func(fleet.LogLine)) error {
	more := r.options.follow && r.runner.State == fleet.Running
	wanted := dockerx.LogOptions{Rest: !more, Tail: r.options.tail, Since: r.options.since}
	// The engine counts the lines of every source, and counts a long line by its pieces.
	if len(r.options.sources) > 0 {
		wanted.Tail = -1
	} else if wanted.Tail >= 0 {
		wanted.Tail += pieces
	}
	tail := fleet.NewTail(r.options.tail)
	err := r.read(ctx, wanted, func(line fleet.LogLine) {
		r.cursor.New(line)
		switch {
		case !r.wanted(line):
		case r.options.tail < 0:
			yield(line)
		default:
			tail.Add(line)
		}
	})
	if r.options.tail >= 0 {
		for _, line := range tail.Lines() {
			yield(line)
		}
	}
	return err
}

// read reads from the runner, or from its record if it is gone.
func (r *logReader) read(ctx context.Context, wanted dockerx.LogOptions, yield func(fleet.LogLine)) error {
	if r.record == nil {
		return r.engine.Logs(ctx, r.runner, wanted, yield)
	}
	for _, line := range linesOf(r.record, slices.Contains(r.options.sources, fleet.Diagnostics)) {
		if !line.Time.Before(wanted.Since) {
			yield(line)
		}
	}
	return nil
}

func (r *logReader) follow(ctx context.Context, yield func(fleet.LogLine)) error {
	for r.record == nil {
		since := r.cursor.Since()
		if since.IsZero() {
			since = r.options.since
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

// logPrinter prints lines, and may be used by several goroutines.
type logPrinter struct {
	mu         sync.Mutex
	out        io.Writer
	prefix     map[string]string // by runner
	timestamps bool
	theme      ui.Theme
	json       *json.Encoder // nil: text
}

func newLogPrinter(out io.Writer, readers []*logReader, options logsOptions) *logPrinter {
	p := &logPrinter{out: out, prefix: map[string]string{}, timestamps: options.timestamps, theme: options.theme}
	if options.json {
		p.json = json.NewEncoder(out)
		p.json.SetEscapeHTML(false)
	}
	width := 0
	for _, reader := range readers {
		width = max(width, len(reader.runner.Name))
	}
	for i, reader := range readers {
		name := reader.runner.Name
		p.prefix[name] = options.theme.Pick(i, fmt.Sprintf("%-*s", width, name))
	}
	return p
}

func (p *logPrinter) line(line fleet.LogLine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.json != nil {
		_ = p.json.Encode(line) // a closed pipe ends the program
		return
	}
	stamp := ""
	if p.timestamps {
		stamp = p.theme.Dim(line.Time.Format("2006-01-02T15:04:05.000Z")) + "  "
	}
	fmt.Fprintf(p.out, "%s  %s  %s%s\n", p.prefix[line.Runner], p.theme.Dim(fmt.Sprintf("%-10s", line.Source)), stamp, ui.Plain(line.Text))
}
