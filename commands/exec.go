package commands

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/moby/term"
	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/session"
)

type execOptions struct {
	name    string
	command []string
	root    bool
	noTTY   bool
}

func execCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "exec",
		Category:  "Look inside",
		Usage:     "run a command inside a runner's machine, as runner in its home",
		ArgsUsage: "NAME -- CMD [ARG…]",
		Description: "Returns the exit code of the command.\n\nExamples:\n" +
			"   runnerctl exec ci-7k2p -- docker ps\n" +
			"   runnerctl exec --root ci-7k2p -- bash",
		Flags: append(flags.Config(),
			&cli.BoolFlag{Name: "root", Usage: "run as root of the runner (an unprivileged user on the host)"},
			&cli.BoolFlag{Name: "no-tty", Aliases: []string{"T"}, Usage: "don't allocate a terminal"}),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) > 1 && args[1] == "--" {
				args = append(args[:1], args[2:]...)
			}
			if len(args) < 2 {
				return &cmdline.UsageError{Command: "exec", Problem: "specify a runner and a command: runnerctl exec NAME -- CMD"}
			}
			return runExec(c.Context, s, execOptions{name: args[0], command: args[1:], root: c.Bool("root"), noTTY: c.Bool("no-tty")})
		},
	}, passThrough: 2, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Most: 1}}
}

func runExec(ctx context.Context, s session.Session, options execOptions) error {
	engine, runner, err := s.FindRunner(ctx, options.name)
	if err != nil {
		return err
	}
	defer engine.Close()
	if runner.State != fleet.Running {
		return notRunning(runner)
	}
	return execIn(ctx, s, engine, runner, options)
}

// notRunning returns the error of a command that needs a running runner.
func notRunning(runner fleet.Runner) error {
	err := fmt.Errorf("runner %s is %s", runner.Name, runner.State)
	switch runner.State {
	case fleet.Paused:
		return hint.Add(err, "docker unpause "+runner.Name+" resumes it, runnerctl up replaces it")
	case fleet.Restarting:
		return hint.Add(err, "it keeps restarting: runnerctl logs "+runner.Name+" shows why, runnerctl up replaces it")
	}
	return hint.Add(err, "runnerctl logs "+runner.Name+" shows why, runnerctl up replaces it")
}

// execIn runs a command on this process's own streams.
func execIn(ctx context.Context, s session.Session, engine *dockerx.Engine, runner fleet.Runner, options execOptions) error {
	command := dockerx.Command{
		Args: options.command, Root: options.root, Stdin: s.Streams.In, Stdout: s.Streams.Out, Stderr: s.Streams.Err,
		TTY: s.Streams.InTTY && s.Streams.OutTTY && !options.noTTY,
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
		return fmt.Errorf("runner %s: %s: %w", runner.Name, strings.Join(options.command, " "), err)
	}
	if code != 0 {
		return exitCode(code)
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
