//go:build linux

// Package agent runs GitHub's agent in the machine: it takes the runner's credential, writes the
// agent's files or registers it, and runs its listener as the user runner. A stop waits for the
// running job, and then cancels it. It imports only the machine's settings, users, processes and
// GitHub.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// Exit codes besides those of the listener, as docs/image.md lists them.
const (
	codeAgain   = 2   // of the listener: it could not reach GitHub for a long time
	codeDeleted = 77  // GitHub has deleted the registration
	codeNoSetup = 78  // the agent could not be set up
	codeStopped = 143 // stopped before the listener ran
)

const (
	patience    = 30 * time.Second // for the credential
	grace       = 30 * time.Second // for a job to end by itself; docs/image.md has the total
	soon        = time.Minute      // an earlier end counts as a failed start
	askAgain    = 3 * time.Second  // between two signals to an idle listener, which ignores them at its start
	againPause  = 5 * time.Second  // before another start after codeAgain, as in GitHub's scripts
	mostAgain   = 5                // starts in a row that end soon with codeAgain
	networkTick = 20 * time.Millisecond
	tick        = 100 * time.Millisecond
	// configureStop is the time for a registration to end after a signal.
	configureStop = time.Second
)

// Files of the agent. The listener writes the migrated ones if GitHub requests it, and prefers
// them.
var (
	names    = []string{".runner", ".credentials", ".credentials_rsaparams"}
	migrated = []string{".runner_migrated", ".credentials_migrated"}
)

// Process is a started program.
type Process interface {
	Done() <-chan struct{}
	Code() int // after Done
	Signal(syscall.Signal) error
	Busy() bool // it has children
}

// Command is a program that runs as the user runner in the agent's folder.
type Command struct {
	Path string
	Args []string
	Env  []string // in addition to the environment of jobs
}

// Options are the inputs of an Agent, and its ways to act.
type Options struct {
	Settings   machine.Agent
	Credential io.Reader // a line, and after a space certificates in base64
	Root       string    // prefix of all paths; "" in a machine
	Start      func(Command) (Process, error)
	Register   func() (Process, error) // starts the process that calls Configure, with the credential
	Say        func(text string)
	Routed     func() bool // reports whether the network is up
	// Exchange gets a registration token for another credential. Only Configure needs it.
	Exchange func(ctx context.Context, mode machine.AgentMode, api, credential string) (token string, err error)
	// Clean starts the cleaner of a static runner.
	Clean func(work string) error
	// Bind mounts a folder at another place.
	Bind func(from, to string) error
}

// Agent is GitHub's agent.
type Agent struct {
	Options
	stopping chan struct{} // closed by Stop
	state    state
}

// New returns an agent that Run starts.
func New(options Options) *Agent {
	return &Agent{Options: options, stopping: make(chan struct{}), state: state{now: configuring}}
}

// failure ends the agent with codeNoSetup.
type failure struct{ text string }

func (f failure) Error() string { return f.text }

func failed(format string, values ...any) error { return failure{fmt.Sprintf(format, values...)} }

// deleted ends the agent with codeDeleted.
type deleted struct{ next string }

func (d deleted) Error() string { return "GitHub has deleted this runner's registration" + d.next }

// explained ends the agent with a code whose reason another process has printed.
type explained struct{ code int }

func (e explained) Error() string { return fmt.Sprintf("ended with code %d", e.code) }

var errStopped = errors.New("stopped")

// Paths, below Root. Home is the agent's folder.
const (
	Home        = "/home/runner/actions-runner"
	files       = "/run/runnerctl/agent"             // the agent's credentials
	kept        = "/var/lib/docker/runnerctl/agent"  // on the runner's volume, which no prune touches
	starts      = "/var/lib/docker/runnerctl/starts" // starts in a row that failed soon, without runnerctl
	bundle      = "/etc/ssl/certs/ca-certificates.crt"
	deletedNote = files + "/deleted"
	listener    = "bin/Runner.Listener"
)

func (a *Agent) path(elements ...string) string {
	return filepath.Join(append([]string{"/", a.Root}, elements...)...)
}

// Run runs the agent until its end and returns the exit code.
func (a *Agent) Run() (code int) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-a.stopping:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	err := a.setUp(ctx)
	if err == nil {
		return a.listen()
	}
	return a.explain(err)
}

// explain says why the agent ends, and returns the code for it.
func (a *Agent) explain(err error) (code int) {
	var reason failure
	var gone deleted
	var elsewhere explained
	switch {
	case errors.Is(err, errStopped), errors.Is(err, context.Canceled):
		return codeStopped
	case errors.As(err, &elsewhere):
		return elsewhere.code
	case errors.As(err, &gone):
		if err := a.forget(); err != nil {
			a.Say(err.Error())
		}
		a.Say(gone.Error())
		return codeDeleted
	case errors.As(err, &reason):
		a.Say(reason.text)
	default:
		a.Say(err.Error())
	}
	return codeNoSetup
}

// wait pauses, or returns the reason why ctx ended.
func wait(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}

func (a *Agent) setUp(ctx context.Context) error {
	if err := a.privateFolder(a.path(files)); err != nil {
		return err
	}
	for !a.Routed() { // without a network, the listener would wait long before its second try
		if err := wait(ctx, networkTick); err != nil {
			return err
		}
	}
	if a.Settings.API != "" {
		if err := a.backOff(ctx); err != nil {
			return err
		}
	}
	switch a.Settings.Mode {
	case machine.JIT:
		if err := a.unpack(ctx); err != nil {
			return err
		}
	case machine.Token, machine.AccessToken, machine.App:
		if err := a.register(ctx); err != nil {
			return err
		}
	default:
		return failed("unknown agent mode %q", a.Settings.Mode)
	}
	if err := a.link(); err != nil {
		return err
	}
	work := a.Settings.Work
	if !filepath.IsAbs(work) {
		work = filepath.Join(Home, work)
	}
	if !strings.HasPrefix(work, Home+"/") {
		if err := a.folder(a.path(work), 0o755); err != nil {
			return err
		}
	}
	if !a.Settings.Ephemeral {
		return a.Clean(work)
	}
	return nil
}

// folder makes a folder of the user runner.
func (a *Agent) folder(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, mode), os.Chown(path, user.Runner, user.Runner))
}

func (a *Agent) privateFolder(path string) error { return a.folder(path, 0o700) }

// link makes the agent's files the user's, and puts links to them into the agent's folder.
func (a *Agent) link() error {
	there := slices.Clone(names)
	for _, name := range migrated {
		if hasContent(a.path(files, name)) {
			there = append(there, name)
		}
	}
	for _, name := range there {
		target := a.path(files, name)
		if !hasContent(target) {
			return failed("the agent's file %s is missing", name)
		}
		if err := errors.Join(os.Chmod(target, 0o600), os.Lchown(target, user.Runner, user.Runner)); err != nil {
			return err
		}
		if err := relink(target, a.path(Home, name)); err != nil {
			return err
		}
	}
	return nil
}

func hasContent(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

// relink replaces a file or a link with a link.
func relink(target, place string) error {
	if err := os.Remove(place); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, place)
}
