//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine/regular"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

const sigint = syscall.SIGINT

// state is the agent's state, for a status report.
type state struct {
	mutex   sync.Mutex
	now     string
	spent   bool
	running Process // the last program
	killed  bool
}

// States of an agent.
const (
	waiting     = "waiting" // for its credential
	configuring = "configuring"
	listening   = "listening"
	ended       = "ended"
)

func (s *state) set(now string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.now = now
}

// State returns the agent's state: waiting for its credential, configuring, listening, ended.
func (a *Agent) State() string {
	a.state.mutex.Lock()
	defer a.state.mutex.Unlock()
	return a.state.now
}

// Spent reports whether the agent had its only job.
func (a *Agent) Spent() bool {
	a.state.mutex.Lock()
	defer a.state.mutex.Unlock()
	return a.state.spent
}

// Waiting reports whether the agent waits for its credential.
func (a *Agent) Waiting() bool { return a.State() == waiting }

// Working reports whether the listener runs a job.
func (a *Agent) Working() bool {
	a.state.mutex.Lock()
	running, now := a.state.running, a.state.now
	a.state.mutex.Unlock()
	return now == listening && running != nil && running.Busy()
}

// Stop asks the agent to end. It may be called once.
func (a *Agent) Stop() { close(a.stopping) }

// Kill ends the agent and its program at once. It may be called once, in place of Stop.
func (a *Agent) Kill() {
	a.state.mutex.Lock()
	a.state.killed = true
	running := a.state.running
	a.state.mutex.Unlock()
	if running != nil {
		_ = running.Signal(syscall.SIGKILL)
	}
	close(a.stopping)
}

// run starts a program of the agent. None outlives Kill.
func (a *Agent) run(start func() (Process, error)) (Process, error) {
	running, err := start()
	if err != nil {
		return nil, err
	}
	a.state.mutex.Lock()
	a.state.running = running
	killed := a.state.killed
	a.state.mutex.Unlock()
	if killed {
		_ = running.Signal(syscall.SIGKILL)
	}
	return running, nil
}

func (a *Agent) stopped() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

// listen runs the listener until the agent ends. Code 2 requests another start.
func (a *Agent) listen() (code int) {
	a.state.set(listening)
	defer a.state.set(ended)
	again := 0
	var lived time.Duration
	for {
		began := time.Now()
		var err error
		if code, err = a.listenOnce(); err != nil {
			return a.explain(err)
		}
		lived = time.Since(began)
		if err := a.keep(); err != nil {
			return a.explain(err)
		}
		if code != codeAgain {
			break
		}
		if again = againCount(again, lived); again >= mostAgain {
			break
		}
		if !a.stopped() {
			a.Say(fmt.Sprintf("ended with code %d, restarting in %d s", code, againPause/time.Second))
		}
		select {
		case <-a.stopping:
			code = 0 // it asked for another start, which it does not need
		case <-time.After(againPause):
			continue
		}
		break
	}
	a.Say(fmt.Sprintf("ended with code %d", code))
	if code == 0 || lived >= soon {
		_ = os.Remove(a.path(starts))
	}
	if a.Settings.Ephemeral {
		a.state.mutex.Lock()
		a.state.spent = true
		a.state.mutex.Unlock()
	}
	if !a.stopped() && a.gone(code) {
		return a.explain(deleted{": another start registers it again if it gets a credential"})
	}
	return code
}

// againCount counts starts in a row that ended soon.
func againCount(before int, lived time.Duration) int {
	if lived < soon {
		return before + 1
	}
	return 0
}

// listenOnce runs the listener until it ends. A stop interrupts it: at once if it is idle,
// otherwise after the job's time to end. It then cancels the job, without a time limit.
func (a *Agent) listenOnce() (code int, err error) {
	running, err := a.run(func() (Process, error) { return a.Start(Command{Path: listener, Args: []string{"run"}}) })
	if err != nil {
		return 0, err
	}
	select {
	case <-running.Done():
		return running.Code(), nil
	case <-a.stopping:
	}
	deadline, asked := time.Now().Add(grace), time.Time{}
	for {
		if due(time.Now(), asked, deadline, running.Busy()) {
			_ = running.Signal(sigint)
			asked = time.Now()
		}
		select {
		case <-running.Done():
			if code := running.Code(); code != 128+int(sigint) {
				return code, nil
			}
			return 0, nil // it was not up yet
		case <-time.After(tick):
		}
	}
}

// due reports whether a stopping listener gets a signal now. An idle one gets several, since it
// ignores signals at its start. A busy one gets one, at the deadline.
func due(now, asked, deadline time.Time, busy bool) bool {
	if !asked.IsZero() && now.Sub(asked) < askAgain {
		return false
	}
	return !busy || asked.IsZero() && !now.Before(deadline)
}

// keep moves files that the listener wrote over the links to the other files.
func (a *Agent) keep() error {
	for _, name := range slices.Concat(names, migrated) {
		place := a.path(Home, name)
		info, err := os.Lstat(place)
		if err == nil && info.Mode().IsRegular() {
			target := a.path(files, name)
			if err := errors.Join(move(place, target), os.Lchown(target, user.Runner, user.Runner), os.Symlink(target, place)); err != nil {
				return err
			}
		} else if slices.Contains(migrated, name) && (err != nil || info.Mode()&os.ModeSymlink == 0) {
			_ = os.Remove(a.path(files, name)) // the listener withdrew it
		}
	}
	return nil
}

// gone reports whether GitHub has deleted the registration. Then the listener deletes its
// files and ends with 0, or detects it at its start, logs it, and ends with 1.
func (a *Agent) gone(code int) bool {
	if a.Settings.Ephemeral {
		return false
	}
	if info, err := os.Lstat(a.path(Home, ".runner")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		return true
	}
	if code != 1 {
		return false
	}
	logs, _ := filepath.Glob(a.path(Home, "_diag/Runner_*.log"))
	if len(logs) == 0 {
		return false
	}
	text, _ := regular.ReadFile(slices.Max(logs))
	return strings.Contains(string(text), "runner registration has been deleted")
}

// forget removes the files of a deleted registration, and notes that it was deleted.
func (a *Agent) forget() error {
	var failures []error
	for _, name := range slices.Concat(names, migrated) {
		if err := os.Remove(a.path(files, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	return errors.Join(append(failures, os.WriteFile(a.path(deletedNote), nil, 0o600))...)
}
