package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/program"
	"github.com/runnerctl/runnerctl/internal/secret"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Command is the hidden command of runnerctl that runs in a supervisor's container. Its
// arguments are the fleet, the log's format and the address of the metrics.
const Command = "__supervise"

// Container holds everything that a supervisor in the background is made of.
type Container struct {
	options    dockerx.SupervisorOptions
	credential secret.Text
}

// Place is where a supervisor in the background lives.
type Place struct {
	Engine   *dockerx.Engine
	Endpoint dockerx.Endpoint
	Target   *access.Target // that the fleet takes jobs from
}

// NewContainer gathers the parts of a fleet's supervisor, or reports the missing part; it makes
// nothing. program is the file of its program, "" for the usual one.
func (at Place) NewContainer(ctx context.Context, s session.Session, loaded config.Config, file string, output Output) (Container, error) {
	if at.Target == nil {
		return Container{}, errors.New("a supervisor in the background needs a target")
	}
	facts, err := at.Engine.Facts(ctx)
	if err != nil {
		return Container{}, fmt.Errorf("engine: %w", err)
	}
	found := Container{options: dockerx.SupervisorOptions{Fleet: loaded.Name, Roots: access.SystemRoots(), Socket: socketOf(at.Endpoint), Command: []string{Command, loaded.Name, output.Format, output.Metrics}}}
	if found.options.Program, err = program.ForSupervisor(file, facts.Arch); err != nil {
		return Container{}, err
	}
	document, err := s.Opener().Document(ctx, loaded, at.Target)
	if err != nil {
		return Container{}, err
	}
	found.credential, err = document.Text()
	return found, err
}

// socketOf returns the path of the engine's socket on the engine's machine.
func socketOf(endpoint dockerx.Endpoint) string {
	address, err := url.Parse(endpoint.Host)
	if err == nil && (address.Scheme == "unix" || address.Scheme == "ssh") && address.Path != "" {
		return address.Path
	}
	return dockerx.SupervisorSocket
}

// beginLimit is how long a supervisor may take to begin.
const beginLimit = 30 * time.Second

// Start stores the desired state and starts the supervisor, or replaces the existing one if it
// differs. It returns when the supervisor has begun. Once started, Start runs to its end even if
// ctx ends: stopping halfway would leave a fleet without a supervisor. A supervisor that does
// not begin is removed again. The caller must hold the fleet's lock.
func (at Place) Start(ctx context.Context, container Container, desired fleet.Desired) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	name := container.options.Fleet
	before, err := at.Engine.Supervisor(whole, name)
	if err != nil {
		return err
	}
	if err := at.Engine.State(name).SaveDesired(whole, desired); err != nil {
		return err
	}
	if err := at.Engine.StartSupervisor(whole, container.options, container.credential); err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		now, err := at.Engine.Supervisor(whole, name)
		if err != nil || now.ContainerID == before.ContainerID {
			return err
		}
		var log bytes.Buffer
		if err := at.Engine.SupervisorLog(whole, name, dockerx.LogOptions{Tail: -1}, &log); err != nil {
			return err
		}
		switch {
		case strings.Contains(log.String(), controller.Began):
			return nil
		case now.Restarts > 0, !now.Running, time.Since(begun) > beginLimit:
			failed := &NotStartedError{fleet: name, lines: strings.Split(strings.TrimSpace(log.String()), "\n")}
			return errors.Join(failed, at.Engine.StopSupervisor(whole, name))
		}
	}
}

// NotStartedError reports that a supervisor in the background failed to start.
type NotStartedError struct {
	fleet string
	lines []string
}

func (e *NotStartedError) Error() string {
	return fmt.Sprintf("supervisor of fleet %s failed to start and was removed", e.fleet)
}

// Last returns the supervisor's last log lines.
func (e *NotStartedError) Last() []string { return e.lines[max(0, len(e.lines)-8):] }
