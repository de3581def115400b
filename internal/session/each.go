package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// Each returns the session once for every host that a command covers.
func (s Session) Each() []Session {
	names := s.Hosts.Names()
	if s.Host != "" || len(names) < 2 {
		return []Session{s}
	}
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	var all []Session
	var mu sync.Mutex
	for _, name := range names {
		one := s
		one.Host = name
		prefix := fmt.Sprintf("%-*s  ", width, name)
		one.Streams.Out = &labelled{w: s.Streams.Out, mu: &mu, prefix: prefix}
		one.Streams.Err = &labelled{w: s.Streams.Err, mu: &mu, prefix: prefix}
		one.Streams.OutTTY, one.Streams.ErrTTY = false, false // the hosts share the terminal, so no lines are redrawn
		all = append(all, one)
	}
	return all
}

// OnEach runs a command on every host that it covers, in parallel: no host waits for another.
// With several hosts, each error names its host.
func OnEach(all []Session, command func(Session) error) error {
	if len(all) == 1 {
		return command(all[0])
	}
	return OnEvery(all, command)
}

// OnEvery is OnEach for some of several hosts; it names the host even for a single one.
func OnEvery(all []Session, command func(Session) error) error {
	failures := make([]error, len(all))
	var wait sync.WaitGroup
	for i, one := range all {
		wait.Go(func() {
			failures[i] = OfHost(one.Host, command(one))
			flush(one.Streams.Out)
			flush(one.Streams.Err)
		})
	}
	wait.Wait()
	return errors.Join(failures...)
}

// labelled writes whole lines, each after its host's name.
type labelled struct {
	w      io.Writer
	mu     *sync.Mutex // shared by all writers to w
	prefix string
	rest   []byte // start of a line whose end is still to come
}

func (l *labelled) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, text...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 {
			return len(text), nil
		}
		if _, err := fmt.Fprintf(l.w, "%s%s\n", l.prefix, l.rest[:end]); err != nil {
			return 0, err
		}
		l.rest = l.rest[end+1:]
	}
}

// Indented returns a writer of whole lines that start with prefix.
func Indented(w io.Writer, prefix string) io.Writer {
	return &labelled{w: w, mu: new(sync.Mutex), prefix: prefix}
}

func flush(w io.Writer) {
	if l, ok := w.(*labelled); ok && len(l.rest) > 0 {
		fmt.Fprintln(l)
	}
}

// hostFailure is the error of one host among several.
type hostFailure struct {
	error
	host string
}

func (e *hostFailure) Error() string { return "host " + e.host + ": " + e.error.Error() }
func (e *hostFailure) Unwrap() error { return e.error }

// OfHost names the host in an error, unless the error names it already.
func OfHost(name string, err error) error {
	var away *dockerx.HostError
	switch {
	case err == nil, errors.Is(err, ErrFailed):
		return err
	case errors.As(err, &away):
		return err // it already names the host
	}
	var all []error
	for _, one := range Flatten(err) {
		all = append(all, &hostFailure{one, name})
	}
	return errors.Join(all...)
}

// FindRunner finds the host that has a runner, and opens the host's engine.
func (s Session) FindRunner(ctx context.Context, name string) (*dockerx.Engine, fleet.Runner, error) {
	engine, runner, record, err := s.FindRunnerOrRecord(ctx, name)
	if record != nil {
		engine.Close()
		return nil, runner, NoRunner(name)
	}
	return engine, runner, err
}

// FindRunnerOrRecord is FindRunner that also finds the record of a runner that is gone.
func (s Session) FindRunnerOrRecord(ctx context.Context, name string) (*dockerx.Engine, fleet.Runner, *fleet.Record, error) {
	var mu sync.Mutex
	var engine *dockerx.Engine
	var found fleet.Runner
	var kept *fleet.Record
	var elsewhere []string
	err := OnEach(s.Each(), func(s Session) error {
		own, endpoint, err := s.Connect()
		if err != nil {
			return err
		}
		runner, record, err := RunnerOrRecord(ctx, own, name)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil || runner.ContainerID == "" && record == nil:
			own.Close()
		case engine != nil:
			own.Close()
			elsewhere = append(elsewhere, endpoint.Name)
		default:
			engine, found, kept = own, runner, record
		}
		return err
	})
	switch {
	case len(elsewhere) > 0:
		engine.Close()
		return nil, found, nil, hint.Add(fmt.Errorf("runner %s is on several hosts: %s", name, strings.Join(append(elsewhere, found.Host), ", ")), "--host chooses one")
	case engine != nil: // errors of other hosts do not matter
		return engine, found, kept, nil
	case err != nil:
		return nil, found, nil, err
	}
	return nil, found, nil, NoRunner(name)
}

// RunnerOrRecord finds a runner, otherwise the record that its fleet's supervisor kept. Finding
// neither is no error.
func RunnerOrRecord(ctx context.Context, engine *dockerx.Engine, name string) (fleet.Runner, *fleet.Record, error) {
	runner, err := engine.Runner(ctx, name)
	if err != nil || runner.ContainerID != "" || fleet.NamedIn(name) == "" {
		return runner, nil, err
	}
	record, err := engine.State(fleet.NamedIn(name)).Record(ctx, name)
	if err != nil || record == nil {
		return runner, nil, err
	}
	return fleet.Runner{Name: record.Name, Fleet: record.Fleet, State: fleet.Exited}, record, nil
}

// NoRunner reports that no engine has a runner of that name.
func NoRunner(name string) error { return &NoRunnerError{name} }

// NoRunnerError reports a name that no runner has.
type NoRunnerError struct{ Name string }

func (e *NoRunnerError) Error() string { return "no runner named " + e.Name }
