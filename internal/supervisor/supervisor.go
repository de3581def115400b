// Package supervisor keeps a fleet in its desired state for ever: in the foreground, or in a
// small container on the fleet's own engine, which this package also starts and follows. It
// imports dockerx, ghapi and internal/{access,controller,fleet,image,metrics,program,session}.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/metrics"
)

// Options configure a supervisor.
type Options struct {
	Engine    *dockerx.Engine
	Fleet     string
	Output    Output
	Log       io.Writer
	Version   string // of runnerctl
	UserAgent string
}

// Output configures the log and the metrics of a supervisor.
type Output struct {
	Format  string // of the log: text or json
	Metrics string // loopback address that serves them
}

// Supervisor is a supervisor in this process.
type Supervisor struct {
	Options
	log     *slog.Logger
	metrics *metrics.Metrics
	rebuild func(context.Context, fleet.Desired) (fleet.Desired, error)

	// The way to GitHub; unset without a target.
	targets fleet.Targets
	client  *ghapi.Client
	reach   ghapi.Options
	arch    string // of the engine's machine
}

// New returns a supervisor without a target.
func New(options Options) *Supervisor {
	var handler slog.Handler = slog.NewTextHandler(options.Log, nil)
	if options.Output.Format == "json" {
		handler = slog.NewJSONHandler(options.Log, nil)
	}
	return &Supervisor{Options: options, log: slog.New(handler), metrics: metrics.New(options.Fleet)}
}

// Foreground supervises until ctx ends, which is no error, or until lost is closed: then another
// process ended the supervisor. rebuild rebuilds the image.
func (s *Supervisor) Foreground(ctx context.Context, lost <-chan struct{}, rebuild func(context.Context, fleet.Desired) (fleet.Desired, error)) error {
	s.rebuild = rebuild
	life, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-life.Done():
		case <-lost:
			stop(ErrEnded)
		}
	}()
	s.serve(life)
	if err := s.run(life, nil); err != nil {
		return err
	}
	if cause := context.Cause(life); errors.Is(cause, ErrEnded) {
		return cause
	}
	return context.Cause(ctx)
}

// ErrEnded reports that another process ended the supervisor.
var ErrEnded = errors.New("the supervisor was ended from outside: by runnerctl down, or with the engine")

// rebuildHere rebuilds the image of a desired state with nothing but the engine and GitHub.
func (s *Supervisor) rebuildHere(ctx context.Context, desired fleet.Desired) (fleet.Desired, error) {
	defer os.RemoveAll(dockerx.ScratchFolder)
	builder := image.Builder{
		Engine: s.Engine, Reach: func() (ghapi.Options, error) { return s.reach, nil }, Cache: dockerx.ScratchFolder, Version: s.Version,
		Progress: "quiet", Out: io.Discard,
	}
	return builder.Rebuild(ctx, s.client, s.arch, desired)
}

// Background supervises in the supervisor's container, with the credential in a file. It starts
// over if the credential changes, and ends if its engine does not answer: the container's mount
// refers to that engine's socket, and only another start of the container sees the socket of a
// new engine.
func (s *Supervisor) Background(ctx context.Context, credential string) error {
	_ = os.RemoveAll(dockerx.ScratchFolder) // left by a supervisor that was killed
	debug.SetGCPercent(50)                  // it runs for ever and allocates little: memory is worth more than collections
	s.rebuild = s.rebuildHere
	s.serve(ctx)
	for {
		given, text, err := access.ReadDocument(credential)
		if err != nil {
			return err
		}
		if err := s.Open(ctx, given); err != nil {
			return err
		}
		life, stop := context.WithCancelCause(ctx)
		go func() {
			if fallsSilent(life, s.Engine) {
				stop(errSilent)
			}
		}()
		err = s.run(life, func() {
			if _, again, err := access.ReadDocument(credential); err == nil && again != text {
				stop(errAnew)
			}
		})
		cause := context.Cause(life)
		stop(nil)
		switch {
		case err != nil:
			return err
		case errors.Is(cause, errAnew):
		case errors.Is(cause, errSilent):
			return cause
		default:
			return nil
		}
	}
}

var (
	errAnew   = errors.New("another credential")
	errSilent = errors.New("the engine does not answer")
)

const (
	pingEvery   = 2 * time.Second
	pingLimit   = 15 * time.Second
	silentAfter = time.Minute
	refusals    = 2 // in a row: the socket of an engine that is gone, or is just being started
)

// fallsSilent returns true once the engine has not answered for a while, or if nothing listens
// on its socket: with live-restore, an engine restarts and leaves this container running.
func fallsSilent(ctx context.Context, engine *dockerx.Engine) bool {
	heard, refused := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pingEvery):
		}
		bounded, cancel := context.WithTimeout(ctx, pingLimit)
		err := engine.Ping(bounded)
		cancel()
		if err == nil {
			heard, refused = time.Now(), 0
			continue
		}
		if dockerx.IsUnreachable(err) {
			refused++
		}
		if refused >= refusals || time.Since(heard) > silentAfter {
			return ctx.Err() == nil
		}
	}
}

// Open sets up the way to GitHub.
func (s *Supervisor) Open(ctx context.Context, given access.Document) error {
	client, err := given.Client(s.UserAgent, s.metrics.Transport)
	if err != nil {
		return err
	}
	info, err := s.Engine.Facts(ctx)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	github := ghapi.NewFleetClient(client, fleet.Marker(s.Fleet, info.ID), given.GroupID, info.Arch)
	s.targets = fleet.Targets{client.Target().URL(): github}
	s.client, s.reach, s.arch = client, given.Reach(s.UserAgent), info.Arch
	return nil
}

// headerLimit bounds a client that sends its headers slowly.
const headerLimit = 10 * time.Second

// serve serves metrics and health until ctx ends. If it can't, another fleet's supervisor has
// the address, which is no reason to leave the fleet alone.
func (s *Supervisor) serve(ctx context.Context) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Output.Metrics)
	if err != nil {
		s.log.Warn("metrics are not served", "error", err.Error(), "hint", "--metrics-address names another address")
		return
	}
	server := &http.Server{Handler: s.metrics.Handler(), ReadHeaderTimeout: headerLimit}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }() // ends on Close
}

// run supervises until ctx ends, which is no error. changed is called on each notice that the
// desired has changed.
func (s *Supervisor) run(ctx context.Context, changed func()) error {
	reloads := make(chan struct{}, 1)
	listening, deaf := context.WithCancel(ctx)
	defer deaf()
	go s.listen(listening, reloads, changed)
	loop := controller.Controller{
		Fleet: s.Fleet, Engine: s.Engine, Targets: s.targets, Store: s.Engine.State(s.Fleet), Rebuild: s.rebuild, Reload: reloads,
		NewName:   func() string { return fleet.NewName(s.Fleet, map[string]bool{}) },
		Meter:     s.metrics,
		KeepCache: s.keepCache,
		CacheUse:  s.cacheUse,
		Observe:   func(event fleet.Event) { event.Log(s.log) },
	}
	return loop.Supervise(ctx)
}

// listenPause is the time between two attempts to listen to the engine.
const listenPause = 5 * time.Second

func (s *Supervisor) listen(ctx context.Context, reloads chan<- struct{}, changed func()) {
	for ctx.Err() == nil {
		stream, err := s.Engine.Reloads(ctx, s.Fleet)
		if err == nil {
			for range stream {
				if changed != nil {
					changed()
				}
				select {
				case reloads <- struct{}{}:
				default:
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenPause):
		}
	}
}
