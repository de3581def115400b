package commands

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

// eachHost returns a command's deps once for every host that the command covers.
func eachHost(d deps) []deps {
	names := d.hosts.names()
	if d.host != "" || len(names) < 2 {
		return []deps{d}
	}
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	var all []deps
	var mu sync.Mutex
	for _, name := range names {
		one := d
		one.host = name
		prefix := fmt.Sprintf("%-*s  ", width, name)
		one.streams.Out = &labelled{w: d.streams.Out, mu: &mu, prefix: prefix}
		one.streams.Err = &labelled{w: d.streams.Err, mu: &mu, prefix: prefix}
		one.streams.OutTTY, one.streams.ErrTTY = false, false // the hosts share the terminal, so no lines are redrawn
		all = append(all, one)
	}
	return all
}

// onEach runs a command on every host that it covers, in parallel: no host waits for another.
// With several hosts, each error names its host.
func onEach(all []deps, command func(deps) error) error {
	if len(all) == 1 {
		return command(all[0])
	}
	return onEvery(all, command)
}

// onEvery is onEach for some of several hosts; it names the host even for a single one.
func onEvery(all []deps, command func(deps) error) error {
	failures := make([]error, len(all))
	var wait sync.WaitGroup
	for i, one := range all {
		wait.Go(func() {
			failures[i] = ofHost(one.host, command(one))
			flush(one.streams.Out)
			flush(one.streams.Err)
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

func ofHost(name string, err error) error {
	var away *dockerx.HostError
	switch {
	case err == nil, errors.Is(err, errFailed):
		return err
	case errors.As(err, &away):
		return err // it already names the host
	}
	var all []error
	for _, one := range flatten(err) {
		all = append(all, &hostFailure{one, name})
	}
	return errors.Join(all...)
}

// connectTo finds the host that has a runner, and opens the host's engine.
func connectTo(ctx context.Context, d deps, name string) (*dockerx.Engine, fleet.Runner, error) {
	engine, runner, record, err := connectToGone(ctx, d, name)
	if record != nil {
		engine.Close()
		return nil, runner, noRunner(name)
	}
	return engine, runner, err
}

// connectToGone is connectTo that also finds the record of a runner that is gone.
func connectToGone(ctx context.Context, d deps, name string) (*dockerx.Engine, fleet.Runner, *fleet.Record, error) {
	all := eachHost(d)
	var mu sync.Mutex
	var engine *dockerx.Engine
	var found fleet.Runner
	var kept *fleet.Record
	var elsewhere []string
	err := onEach(all, func(d deps) error {
		own, endpoint, err := connect(d)
		if err != nil {
			return err
		}
		runner, record, err := foundOrGone(ctx, own, name)
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
	return nil, found, nil, noRunner(name)
}

func noRunner(name string) error {
	return hint.Add(fmt.Errorf("no runner named %s", name), "runnerctl ps --all lists them")
}
