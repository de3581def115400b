package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	_ "golang.org/x/crypto/x509roots/fallback" // for a supervisor whose up found no certificate authorities to pass on

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/metrics"
)

type superviseOptions struct {
	up   upOptions
	tell telling
}

// telling configures a supervisor's output, in addition to its events.
type telling struct {
	logFormat string // text or json
	metrics   string // address that serves them
}

func superviseCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:     "supervise",
		Category: "Run",
		Usage:    "keep the fleet as wished, in the foreground, until Ctrl-C; its runners stay",
		Description: "What ends is replaced, what hangs too; registrations without a runner go. One supervisor a fleet.\n\nExamples:\n" +
			"   runnerctl supervise --count 3\n" +
			"   runnerctl supervise --target https://github.com/acme/api --log-format json",
		Flags: slices.Concat(configFlags(), buildFlags(), githubFlags(), wishFlags(), tellingFlags(), []cli.Flag{colorFlag()}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			var options superviseOptions
			var err error
			if options.tell, err = tellingOf(c); err != nil {
				return err
			}
			if options.up, err = upOptionsOf(c, d); err != nil {
				return err
			}
			return runSupervise(c.Context, d, options)
		},
	}}
}

// metricsAddress is reachable from this machine only: the metrics are not meant for others.
const metricsAddress = "127.0.0.1:9477"

func tellingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of the supervisor's log: text or json", Value: "text", EnvVars: []string{"RUNNERCTL_LOG_FORMAT"}, Category: "Supervisor"},
		&cli.StringFlag{Name: "metrics-address", Usage: "loopback `ADDRESS` of the supervisor's machine where it serves /metrics and /healthz", Value: metricsAddress, EnvVars: []string{"RUNNERCTL_METRICS_ADDRESS"}, Category: "Supervisor"},
	}
}

func tellingOf(c *cli.Context) (telling, error) {
	tell := telling{logFormat: c.String("log-format"), metrics: c.String("metrics-address")}
	if tell.logFormat != "text" && tell.logFormat != "json" {
		return tell, &cmdline.UsageError{Command: c.Command.Name, Problem: fmt.Sprintf("--log-format %q: text or json", tell.logFormat)}
	}
	if address, err := netip.ParseAddrPort(tell.metrics); err != nil || !address.Addr().IsLoopback() {
		return tell, &cmdline.UsageError{Command: c.Command.Name, Problem: fmt.Sprintf("--metrics-address %q: expected a loopback address with a port, like %s", tell.metrics, metricsAddress)}
	}
	return tell, nil
}

func runSupervise(ctx context.Context, d deps, options superviseOptions) error {
	host, err := findHost(ctx, d, options.up)
	if err != nil {
		return err
	}
	engine, name := host.engine, options.up.config.Name
	defer engine.Close()
	tag, id, err := host.image(ctx, d, options.up)
	if err != nil {
		return err
	}
	wish, err := host.wish(ctx, options.up, tag, id)
	if err != nil {
		return err
	}
	unlock, err := lockFleet(ctx, d, engine, name, tag)
	if err != nil {
		return err
	}
	lost, release, err := engine.HoldSupervisor(ctx, name, id)
	if err == nil {
		err = engine.State(name).SaveWish(ctx, wish)
	}
	unlock()
	if err != nil {
		return err
	}
	defer release()
	s := newSupervisor(d, engine, name, options.tell)
	if host.github != nil {
		given, err := d.opener().Document(ctx, options.up.config, host.github)
		if err == nil {
			err = s.open(ctx, given)
		}
		if err != nil {
			return err
		}
	}
	s.rebuild = func(ctx context.Context, wish fleet.Wish) (fleet.Wish, error) {
		wanted, err := imageSource(d, engine, options.up.build.config).Recipe(ctx)
		if err != nil {
			return wish, err
		}
		builder := options.up.build.builder(d, engine)
		builder.Progress, builder.Out, builder.Redraw = "quiet", io.Discard, false // its output does not belong in the supervisor's log
		return builder.Renew(ctx, wanted, wish)
	}
	life, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-life.Done():
		case <-lost:
			stop(errTakenAway)
		}
	}()
	s.serve(life)
	if err := s.run(life, nil); err != nil {
		return err
	}
	if cause := context.Cause(life); errors.Is(cause, errTakenAway) {
		return cause
	}
	return context.Cause(ctx)
}

var errTakenAway = errors.New("the supervisor was ended from outside: by runnerctl down, or with the engine")

// wish returns the desired state that the options ask for, as a supervisor keeps it.
func (h host) wish(ctx context.Context, options upOptions, tag, id string) (fleet.Wish, error) {
	spec, err := agentSpec(ctx, h.engine, options.config, tag, id, h.env, h.github)
	if err != nil {
		return fleet.Wish{}, err
	}
	wish := options.wish(spec)
	if wish.Agent, err = image.AgentIn(ctx, h.engine, tag); err != nil {
		return wish, err
	}
	ingredients, err := image.IngredientsOf(options.config)
	if err != nil {
		return wish, err
	}
	wish.Rebuild, err = json.Marshal(ingredients)
	return wish, err
}

// wish returns the wish for runners of spec, as far as the options determine it.
func (o upOptions) wish(spec fleet.Spec) fleet.Wish {
	wish := fleet.Wish{Schema: fleet.WishSchema, Count: o.config.Runners.Count, Spec: spec, Ready: o.timeout}
	if spec.Agent.Mode == fleet.JIT {
		wish.Spares = o.config.Runners.Spares
	}
	return wish
}

// engineSocket returns the path of the engine's socket on the engine's machine.
func engineSocket(endpoint dockerx.Endpoint) string {
	address, err := url.Parse(endpoint.Host)
	if err == nil && (address.Scheme == "unix" || address.Scheme == "ssh") && address.Path != "" {
		return address.Path
	}
	return dockerx.SupervisorSocket
}

const insideName = "__supervise"

// insideCommand runs in a supervisor's container, which holds this program itself.
func insideCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name: insideName, Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) != 3 {
				return &cmdline.UsageError{Problem: insideName + ": fleet, log format, metrics' address"}
			}
			engine, err := dockerx.Connect(dockerx.Endpoint{Name: "local", Host: "unix://" + dockerx.SupervisorSocket})
			if err != nil {
				return err
			}
			defer engine.Close()
			s := newSupervisor(d, engine, args[0], telling{logFormat: args[1], metrics: args[2]})
			_ = os.RemoveAll(dockerx.ScratchFolder) // left by a supervisor that was killed
			s.rebuild = s.rebuildHere
			s.serve(c.Context)
			return s.inside(c.Context, dockerx.CredentialFile)
		},
	}}
}

// rebuildHere rebuilds a wish's image with nothing but the engine and GitHub.
func (s *supervisor) rebuildHere(ctx context.Context, wish fleet.Wish) (fleet.Wish, error) {
	defer os.RemoveAll(dockerx.ScratchFolder)
	builder := image.Builder{
		Engine: s.engine, Reach: func() (ghapi.Options, error) { return s.reach, nil }, Cache: dockerx.ScratchFolder, Version: Version,
		Progress: "quiet", Out: io.Discard,
	}
	return builder.Rebuild(ctx, s.client, s.arch, wish)
}

// inside starts over if the credential changes, and ends if its engine does not answer. The
// container's mount refers to that engine's socket; only another start of the container sees
// the socket of a new engine.
func (s *supervisor) inside(ctx context.Context, credential string) error {
	for {
		given, text, err := access.ReadDocument(credential)
		if err != nil {
			return err
		}
		if err := s.open(ctx, given); err != nil {
			return err
		}
		life, stop := context.WithCancelCause(ctx)
		go func() {
			if fallsSilent(life, s.engine) {
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

// supervisor runs in the foreground or in the background.
type supervisor struct {
	engine  *dockerx.Engine
	fleet   string
	tell    telling
	log     *slog.Logger
	metrics *metrics.Metrics
	rebuild func(context.Context, fleet.Wish) (fleet.Wish, error)

	// The way to GitHub; unset without a target.
	forges fleet.Forges
	client *ghapi.Client
	reach  ghapi.Options
	arch   string // of the engine's machine
}

func newSupervisor(d deps, engine *dockerx.Engine, fleetName string, tell telling) *supervisor {
	var handler slog.Handler = slog.NewTextHandler(d.streams.Err, nil)
	if tell.logFormat == "json" {
		handler = slog.NewJSONHandler(d.streams.Err, nil)
	}
	return &supervisor{engine: engine, fleet: fleetName, tell: tell, log: slog.New(handler), metrics: metrics.New(fleetName)}
}

// open sets up the way to GitHub.
func (s *supervisor) open(ctx context.Context, given access.Document) error {
	client, err := given.Client(userAgent(), s.metrics.Transport)
	if err != nil {
		return err
	}
	told, err := s.engine.Facts(ctx)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	forge := ghapi.NewForge(client, fleet.Marker(s.fleet, told.ID), given.GroupID, told.Arch)
	s.forges = fleet.Forges{client.Target().URL(): forge}
	s.client, s.reach, s.arch = client, given.Reach(userAgent()), told.Arch
	return nil
}

// headerLimit bounds a client that sends its headers slowly.
const headerLimit = 10 * time.Second

// serve serves metrics and health until ctx ends. If it can't, another fleet's supervisor has
// the address, which is no reason to leave the fleet alone.
func (s *supervisor) serve(ctx context.Context) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.tell.metrics)
	if err != nil {
		s.log.Warn("metrics are not served", "error", err.Error(), "hint", "--metrics-address names another address")
		return
	}
	server := &http.Server{Handler: s.metrics.Handler(), ReadHeaderTimeout: headerLimit}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }() // ends on Close
}

// run supervises until ctx ends, which is no error. told is called on each notice that the
// wish has changed.
func (s *supervisor) run(ctx context.Context, told func()) error {
	reloads := make(chan struct{}, 1)
	listening, deaf := context.WithCancel(ctx)
	defer deaf()
	go s.listen(listening, reloads, told)
	loop := controller.Controller{
		Fleet: s.fleet, Engine: s.engine, Forges: s.forges, Store: s.engine.State(s.fleet), Rebuild: s.rebuild, Reload: reloads,
		NewName: func() string { return fleet.NewName(s.fleet, map[string]bool{}) },
		Meter:   s.metrics,
		Observe: func(event fleet.Event) { event.Log(s.log) },
	}
	return loop.Supervise(ctx)
}

// listenPause is the time between two attempts to listen to the engine.
const listenPause = 5 * time.Second

func (s *supervisor) listen(ctx context.Context, reloads chan<- struct{}, told func()) {
	for ctx.Err() == nil {
		stream, err := s.engine.Reloads(ctx, s.fleet)
		if err == nil {
			for range stream {
				if told != nil {
					told()
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
