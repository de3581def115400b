// Package execute runs a command in a runner on the streams of this process. On a terminal the
// command gets every key and the window's size. The package imports dockerx and
// internal/{fleet,session}.
package execute

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/moby/term"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Command is a command that runs in a runner.
type Command struct {
	Args  []string
	Root  bool // as the machine's root instead of the user runner
	NoTTY bool // no terminal, even if the session has one
}

// ExitCode is the error of a command that ended with a code other than 0.
type ExitCode int

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Run runs the command in the runner with that name, on the session's streams.
func (c Command) Run(ctx context.Context, s session.Session, name string) error {
	engine, runner, err := s.FindRunning(ctx, name)
	if err != nil {
		return err
	}
	defer engine.Close()
	return c.In(ctx, s, engine, runner)
}

// In runs the command in a runner, on the session's streams.
func (c Command) In(ctx context.Context, s session.Session, engine *dockerx.Engine, runner fleet.Runner) error {
	command := dockerx.Command{
		Args: c.Args, Root: c.Root, Stdin: s.Streams.In, Stdout: s.Streams.Out, Stderr: s.Streams.Err,
		TTY: s.Streams.InTTY && s.Streams.OutTTY && !c.NoTTY,
	}
	if command.TTY {
		restore, err := rawTerminal(s, &command)
		if err != nil {
			return err
		}
		defer restore()
	}
	code, err := engine.Exec(ctx, runner, command)
	if err != nil {
		return fmt.Errorf("runner %s: %s: %w", runner.Name, strings.Join(c.Args, " "), err)
	}
	if code != 0 {
		return ExitCode(code)
	}
	return nil
}

// rawTerminal passes every key to the command and follows the window's size.
func rawTerminal(s session.Session, command *dockerx.Command) (restore func(), err error) {
	in, ok := s.Streams.In.(*os.File)
	if !ok {
		return func() {}, nil
	}
	state, err := term.SetRawTerminal(in.Fd())
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if size, err := term.GetWinsize(in.Fd()); err == nil {
		command.Height, command.Width = uint(size.Height), uint(size.Width)
	}
	resizes, stop := watchSize(in.Fd())
	command.Resizes = resizes
	return func() {
		stop()
		_ = term.RestoreTerminal(in.Fd(), state)
	}, nil
}
