package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/advice"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/execute"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Exit codes, as in the README.
const (
	ExitFailure     = 1
	ExitUsage       = 2
	ExitAuth        = 4
	ExitInterrupted = 130
)

// Main runs the program on the process's own streams and returns its exit code. The first
// Ctrl-C cancels and lets commands clean up; the second ends the process at once.
func Main(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\nstopping and cleaning up (press Ctrl-C again to exit at once)")
		cancel(ErrInterrupted)
		<-signals
		os.Exit(ExitInterrupted)
	}()
	return Run(ctx, session.Session{
		Streams: ui.System(os.Stdin, os.Stdout, os.Stderr), Env: os.Getenv,
		Prompt: ui.NewPrompter(os.Stdin, os.Stderr), GOOS: runtime.GOOS,
	}, args)
}

// ErrInterrupted is the cause of a context that Ctrl-C has cancelled.
var ErrInterrupted = errors.New("interrupted")

// Run is Main with its dependencies passed in.
func Run(ctx context.Context, s session.Session, args []string) int {
	out := &ui.Output{Writer: s.Streams.Out}
	s.Streams.Out = out
	s.Version = Version
	words := newApp(s) // knows which words are flags
	s.Color = flags.EarlyColor(words, args, s.Env)
	s.Host, s.Hosts = flags.EarlyHost(words, args, s.Env)
	ui.PromptColor(s.Color != "never")
	app := newApp(s)
	err := app.RunContext(ctx, app.Arrange(args))
	if failed := out.Err(); err == nil && failed != nil {
		err = fmt.Errorf("standard output: %w", failed)
	}
	return report(ctx, s, err)
}

func report(ctx context.Context, s session.Session, err error) int {
	var code execute.ExitCode
	var usage *cmdline.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(context.Cause(ctx), ErrInterrupted), errors.Is(err, ui.ErrInterrupted):
		return ExitInterrupted
	}
	theme := ui.NewTheme(s.Color, s.Streams.ErrTTY, s.Env)
	advice.Print(s.Streams.Err, theme, err)
	if errors.As(err, &usage) {
		return ExitUsage
	}
	var setting *config.Error
	if errors.As(err, &setting) {
		return ExitUsage
	}
	if access.Denied(err) {
		return ExitAuth
	}
	return ExitFailure
}
