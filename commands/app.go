// Package commands is the command line, with one file per verb. Each verb turns its flags into
// an options struct and calls one function.
package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/execute"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Exit codes, as in the README.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitAuth        = 4
	exitInterrupted = 130
)

// verb is a command of runnerctl.
type verb struct {
	*cli.Command // its Category is its group in help
	passThrough  int
	arguments    cmdline.Candidates
	offline      bool // needs no engine, and has no --host
}

// anyNumber stands for any number of arguments.
const anyNumber = 1 << 10

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
		cancel(errInterrupted)
		<-signals
		os.Exit(exitInterrupted)
	}()
	return run(ctx, session.Session{
		Streams: ui.System(os.Stdin, os.Stdout, os.Stderr), Env: os.Getenv,
		Prompt: ui.NewPrompter(os.Stdin, os.Stderr), GOOS: runtime.GOOS, Version: Version,
	}, args)
}

var errInterrupted = errors.New("interrupted")

// run is Main with its dependencies passed in.
func run(ctx context.Context, s session.Session, args []string) int {
	out := &output{Writer: s.Streams.Out}
	s.Streams.Out = out
	words := newApp(s) // knows which words are flags
	s.Color = wantedColor(words, args, s.Env)
	s.Host, s.Hosts = wantedHost(words, args, s.Env)
	ui.PromptColor(s.Color != "never")
	app := newApp(s)
	err := app.RunContext(ctx, app.Arrange(args))
	if err == nil && out.err != nil {
		err = fmt.Errorf("standard output: %w", out.err)
	}
	return report(ctx, s, err)
}

// output remembers a failed write, for example to a file on a full disk: the code that prints
// a table checks no errors.
type output struct {
	io.Writer
	mu  sync.Mutex
	err error
}

func (o *output) Write(data []byte) (int, error) {
	n, err := o.Writer.Write(data)
	if err != nil {
		o.mu.Lock()
		if o.err == nil {
			o.err = err
		}
		o.mu.Unlock()
	}
	return n, err
}

// Fd returns the descriptor of the terminal, to ask for its width, or the highest uintptr if
// there is no terminal.
func (o *output) Fd() uintptr {
	if file, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return file.Fd()
	}
	return ^uintptr(0)
}

func report(ctx context.Context, s session.Session, err error) int {
	var code execute.ExitCode
	var usage *cmdline.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(context.Cause(ctx), errInterrupted), errors.Is(err, ui.ErrInterrupted):
		return exitInterrupted
	}
	theme := ui.NewTheme(s.Color, s.Streams.ErrTTY, s.Env)
	for _, one := range session.Flatten(err) {
		if errors.Is(one, session.ErrFailed) {
			continue
		}
		ui.Error(s.Streams.Err, theme, advised(one))
	}
	if errors.As(err, &usage) {
		return exitUsage
	}
	var setting *config.Error
	if errors.As(err, &setting) {
		return exitUsage
	}
	if access.Denied(err) {
		return exitAuth
	}
	return exitFailure
}

// helpText is the general text of help and the man page.
func helpText() cmdline.Text {
	return cmdline.Text{
		Version:    Version,
		Precedence: "Flags override the environment (RUNNERCTL_…), which overrides runnerctl.yaml, which overrides the defaults.",
		Files:      [][2]string{{"runnerctl.yaml", "The settings of the fleet, in the working directory (optional)."}},
		Exit:       [][2]string{{"0", "done"}, {"1", "failed"}, {"2", "wrong usage or settings"}, {"4", "credentials refused by GitHub"}, {"130", "interrupted"}},
		ExitNote:   "exec and run return the exit code of their command.",
	}
}

func newApp(s session.Session) *cmdline.App {
	verbs := []verb{
		initCommand(s), doctorCommand(s), buildCommand(s), hostCommand(s),
		upCommand(s), downCommand(s), psCommand(s), runCommand(s), superviseCommand(s), insideCommand(s),
		logsCommand(s), execCommand(s), cpCommand(s), inspectCommand(s), eventsCommand(s),
		pruneCommand(s),
		demoCommand(s), versionCommand(s), completionCommand(s), completeCommand(s), helpCommand(s), probeCommand(s), manCommand(s), simCommand(s),
	}
	commands := make([]cmdline.Command, len(verbs))
	for i, one := range verbs {
		if !one.SkipFlagParsing {
			addCommonFlags(one)
		}
		commands[i] = cmdline.Command{Command: one.Command, PassThrough: one.passThrough, Arguments: one.arguments}
	}
	return cmdline.New(&cli.App{
		Name:      "runnerctl",
		Usage:     "self-hosted GitHub Actions runners with Docker inside, never privileged",
		Writer:    s.Streams.Out,
		ErrWriter: s.Streams.Err,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help; for one command: runnerctl COMMAND --help"},
			&cli.BoolFlag{Name: "version", Usage: "print the version of runnerctl"},
		},
		Before: func(c *cli.Context) error {
			if c.Bool("version") && c.NArg() > 0 { // never run a command while ignoring the flag
				return &cmdline.UsageError{Problem: fmt.Sprintf("--version: unexpected argument %q", c.Args().First())}
			}
			return nil
		},
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case c.Bool("version"):
				fmt.Fprintln(s.Streams.Out, "runnerctl", Version)
				return nil
			case name != "":
				return cmdline.From(c).UnknownCommand(name)
			}
			cmdline.From(c).WriteOverview(s.Streams.Out)
			return nil
		},
	}, commands, []string{"Prepare", "Run", "Look inside", "Clean up", "More"}, helpText())
}

// addCommonFlags adds the flags that every command has.
func addCommonFlags(of verb) {
	if !slices.ContainsFunc(of.Flags, func(flag cli.Flag) bool { return flag.Names()[0] == "color" }) {
		of.Flags = append(of.Flags, flags.Color())
	}
	if !of.offline {
		of.Flags = append(of.Flags, flags.Host())
	}
	of.Before = func(c *cli.Context) error {
		if _, err := ui.ParseColorMode(c.String("color")); err != nil {
			return &cmdline.UsageError{Command: of.Name, Problem: err.Error()}
		}
		return cmdline.EmptyBoolean(of.Command)
	}
}

// wantedColor finds the color mode before the command line is parsed, so that parse errors use
// it too. The command itself reports a wrong value.
func wantedColor(app *cmdline.App, args []string, env func(string) string) ui.ColorMode {
	mode, err := ui.ParseColorMode(cmp.Or(app.FlagValue(args, "color"), env("RUNNERCTL_COLOR"), "auto"))
	if err != nil {
		return "auto"
	}
	return mode
}

// wantedHost finds the host before the command line is parsed: every command connects, but not
// every command has the settings at hand.
func wantedHost(app *cmdline.App, args []string, env func(string) string) (string, session.Inventory) {
	file := cmp.Or(app.FlagValue(args, "config", "c"), env("RUNNERCTL_CONFIG"))
	host := cmp.Or(app.FlagValue(args, "host"), env("RUNNERCTL_HOST"))
	if _, err := os.Stat(config.DefaultFile); file == "" && err != nil {
		return host, session.Inventory{}
	}
	loaded, err := config.Load(cmp.Or(file, config.DefaultFile))
	return host, session.Inventory{All: loaded.Hosts, Err: err}
}
