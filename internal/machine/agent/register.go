//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/regular"
)

// register lets a process of its own register, before any job exists: an access token or an App's
// key must not stay in the memory of the machine's init, where root of a job finds it. A static
// runner registers once: a restarted one keeps its registration.
func (a *Agent) register(ctx context.Context) error {
	if !a.Settings.Ephemeral {
		if err := errors.Join(a.privateFolder(a.path(kept)), a.Bind(a.path(kept), a.path(files))); err != nil {
			return err
		}
		if hasContent(a.path(files, ".runner")) {
			return nil
		}
	}
	// The listener takes a dangling link for a file.
	for _, name := range slices.Concat(names, migrated) {
		if err := os.Remove(a.path(Home, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	running, err := a.run(a.Register)
	if err != nil {
		return err
	}
	select {
	case <-running.Done():
	case <-ctx.Done():
		_ = running.Signal(sigint)
		select {
		case <-running.Done():
		case <-time.After(configureStop): // the listener ignores signals at its start
			_ = running.Signal(syscall.SIGKILL)
			<-running.Done()
		}
		return context.Cause(ctx)
	}
	switch code := running.Code(); code {
	case 0:
	case codeDeleted, codeNoSetup:
		return explained{code}
	default:
		return failed("the registration with %s failed with code %d", a.Settings.URL, code)
	}
	for _, name := range names {
		if err := move(a.path(Home, name), a.path(files, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(a.path(deletedNote)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Configure is the process that registers: it takes the credential, exchanges it for a token if
// necessary, and becomes the listener, which has the token in its environment. It returns only
// if that fails, with the exit code.
func (a *Agent) Configure(ctx context.Context, become func(Command) error) (code int) {
	token, err := a.token(ctx)
	if err == nil {
		err = become(Command{Path: listener, Args: configureArguments(a.Settings), Env: []string{"ACTIONS_RUNNER_INPUT_TOKEN=" + token}})
	}
	return a.explain(err)
}

// token returns a registration token.
func (a *Agent) token(ctx context.Context) (string, error) {
	credential, err := a.take(ctx)
	if err != nil || a.Settings.Mode == machine.Token {
		return credential, err
	}
	token, err := a.Exchange(ctx, a.Settings.Mode, a.Settings.API, credential)
	if err != nil {
		a.Say(err.Error())
		return "", failed("no registration token for %s", a.Settings.URL)
	}
	return token, nil
}

// configureArguments is the listener's command line for a registration.
func configureArguments(s machine.Agent) []string {
	arguments := []string{"configure", "--unattended", "--url", s.URL, "--name", s.Name, "--work", s.Work, "--disableupdate"}
	if s.API != "" { // a name from runnerctl is new; a name from an operator may have been used before
		arguments = append(arguments, "--replace")
	}
	if len(s.Labels) > 0 {
		arguments = append(arguments, "--labels", strings.Join(s.Labels, ","))
	}
	if s.Group != "" && s.Group != "Default" {
		arguments = append(arguments, "--runnergroup", s.Group)
	}
	if s.Ephemeral {
		arguments = append(arguments, "--ephemeral")
	}
	if s.NoGitHubLabels {
		arguments = append(arguments, "--no-default-labels")
	}
	return arguments
}

// move moves a file to a place that may be on another file system.
func move(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	// A new file: the old one may have another owner or be a link.
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(os.WriteFile(to, text, 0o600), os.Remove(from)) //nolint:gosec // both are constants below Root
}

// backOff pauses before a start without runnerctl: the container may be started again for ever,
// and each start may register. The pauses get longer while no start lives long.
func (a *Agent) backOff(ctx context.Context) error {
	text, _ := regular.ReadFile(a.path(starts))
	before, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || before < 0 || before > 999 {
		before = 0
	}
	if pause := startPause(before); pause > 0 {
		a.Say(fmt.Sprintf("waiting %ds: the last %d starts failed soon", pause/time.Second, before))
		if err := wait(ctx, pause); err != nil {
			return err
		}
	}
	return errors.Join(os.MkdirAll(filepath.Dir(a.path(starts)), 0o755), os.WriteFile(a.path(starts), fmt.Appendln(nil, before+1), 0o644))
}

// startPause is the pause after so many starts in a row that failed soon.
func startPause(failures int) time.Duration {
	switch {
	case failures == 0:
		return 0
	case failures < 6:
		return time.Second << failures
	}
	return time.Minute
}
