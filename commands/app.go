// Package commands is the command line, with one file per verb. Each verb turns its flags into
// an options struct and calls one function.
package commands

import (
	"cmp"
	"context"
	"encoding/json"
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

	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Exit codes, as in the README.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitAuth        = 4
	exitInterrupted = 130
)

// errFailed ends a command with code 1 if the problem is already reported.
var errFailed = errors.New("failed")

// exitCode passes on the exit code of a command that ran inside a runner.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// verb is a command of runnerctl.
type verb struct {
	*cli.Command // its Category is its group in help
	passThrough  int
	arguments    cmdline.Candidates
	offline      bool // needs no engine, and has no --host
}

// anyNumber stands for any number of arguments.
const anyNumber = 1 << 10

// deps holds everything that a command gets from outside.
type deps struct {
	streams ui.Streams
	env     func(string) string
	prompt  ui.Prompter
	goos    string // this client's operating system
	color   ui.ColorMode
	host    string // value of --host; "" for the settings' hosts, else docker's own choice
	hosts   inventory
}

// asks reports whether a user can be asked, on a terminal that supports questions.
func (d deps) asks() bool { return d.streams.InTTY && d.redraws() }

// redraws reports whether stderr is a terminal that can move its cursor.
func (d deps) redraws() bool { return d.streams.ErrTTY && d.env("TERM") != "dumb" }

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
		fmt.Fprintln(os.Stderr, "\nstopping and cleaning up (Ctrl-C again ends at once)")
		cancel(errInterrupted)
		<-signals
		os.Exit(exitInterrupted)
	}()
	return run(ctx, deps{
		streams: ui.System(os.Stdin, os.Stdout, os.Stderr), env: os.Getenv,
		prompt: ui.NewPrompter(os.Stdin, os.Stderr), goos: runtime.GOOS,
	}, args)
}

var errInterrupted = errors.New("interrupted")

// run is Main with its dependencies passed in.
func run(ctx context.Context, d deps, args []string) int {
	out := &output{Writer: d.streams.Out}
	d.streams.Out = out
	words := newApp(d) // knows which words are flags
	d.color = wantedColor(words, args, d.env)
	d.host, d.hosts = wantedHost(words, args, d.env)
	ui.PromptColor(d.color != "never")
	app := newApp(d)
	err := app.RunContext(ctx, app.Arrange(args))
	if err == nil && out.err != nil {
		err = fmt.Errorf("standard output: %w", out.err)
	}
	return report(ctx, d, err)
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

func report(ctx context.Context, d deps, err error) int {
	var code exitCode
	var usage *cmdline.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(context.Cause(ctx), errInterrupted):
		return exitInterrupted
	}
	theme := ui.NewTheme(d.color, d.streams.ErrTTY, d.env)
	for _, one := range flatten(err) {
		if errors.Is(one, errFailed) {
			continue
		}
		ui.Error(d.streams.Err, theme, advised(one))
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

// flatten splits the errors of errors.Join, so that each is printed with its own hint.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the outermost only
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, flatten(one)...)
	}
	return all
}

// helpText is what help and the man page show about the whole program.
func helpText() cmdline.Text {
	return cmdline.Text{
		Version:    Version,
		Precedence: "Settings: flags over environment (RUNNERCTL_…) over runnerctl.yaml over defaults.",
		Files:      [][2]string{{"runnerctl.yaml", "The fleet's settings, in the working folder; none is needed."}},
		Exit:       [][2]string{{"0", "done"}, {"1", "failed"}, {"2", "wrong usage or settings"}, {"4", "refused by GitHub for who asks"}, {"130", "interrupted"}},
		ExitNote:   "exec and run pass on the exit code of their command.",
	}
}

func newApp(d deps) *cmdline.App {
	verbs := []verb{
		initCommand(d), doctorCommand(d), buildCommand(d), hostCommand(d),
		upCommand(d), downCommand(d), psCommand(d), runCommand(d), superviseCommand(d), insideCommand(d),
		logsCommand(d), execCommand(d), cpCommand(d), inspectCommand(d), eventsCommand(d),
		pruneCommand(d),
		demoCommand(d), versionCommand(d), completionCommand(d), completeCommand(d), helpCommand(d), probeCommand(d), manCommand(d), simCommand(d),
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
		Writer:    d.streams.Out,
		ErrWriter: d.streams.Err,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help, of a command: runnerctl COMMAND --help"},
			&cli.BoolFlag{Name: "version", Usage: "print runnerctl's own version"},
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
				fmt.Fprintln(d.streams.Out, "runnerctl", Version)
				return nil
			case name != "":
				return cmdline.From(c).UnknownCommand(name)
			}
			cmdline.From(c).WriteOverview(d.streams.Out)
			return nil
		},
	}, commands, []string{"Prepare", "Run", "Look inside", "Clean up", "More"}, helpText())
}

// addCommonFlags adds the flags that every command has.
func addCommonFlags(of verb) {
	if !slices.ContainsFunc(of.Flags, func(flag cli.Flag) bool { return flag.Names()[0] == "color" }) {
		of.Flags = append(of.Flags, colorFlag())
	}
	if !of.offline {
		of.Flags = append(of.Flags, hostFlag())
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

// Flags that several commands share.
func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "read settings from `FILE`; none is needed", DefaultText: "./" + config.DefaultFile, EnvVars: []string{"RUNNERCTL_CONFIG"}, Category: "Settings"}
}

func configFlags() []cli.Flag {
	return []cli.Flag{
		configFlag(),
		&cmdline.Choice{Flag: &cli.StringFlag{Name: "fleet", Usage: "`NAME` of the fleet", DefaultText: "the file's name:, else ci", EnvVars: []string{"RUNNERCTL_FLEET"}, Category: "Settings"}, Candidates: cmdline.Candidates{Kind: fleetNames}},
	}
}

func colorFlag() cli.Flag {
	return &cmdline.Choice{Flag: &cli.StringFlag{Name: "color", Usage: "colour `WHEN`: auto, always or never", Value: "auto", EnvVars: []string{"RUNNERCTL_COLOR"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"auto", "always", "never"}}}
}

func outputFlag() cli.Flag {
	return &cmdline.Choice{Flag: &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: table or json", Value: "table", EnvVars: []string{"RUNNERCTL_OUTPUT"}, Category: "Output"}, Candidates: cmdline.Candidates{Words: []string{"table", "json"}}}
}

// settings merges flags over environment over file over defaults.
func settings(c *cli.Context) (config.Config, error) {
	path := c.String("config")
	loaded := config.Default()
	_, statErr := os.Stat(config.DefaultFile)
	switch {
	case path != "":
		var err error
		if loaded, err = config.Load(path); err != nil {
			return loaded, err
		}
	case statErr == nil:
		var err error
		if loaded, err = config.Load(config.DefaultFile); err != nil {
			return loaded, err
		}
	}
	if c.IsSet("fleet") {
		loaded.Name = c.String("fleet")
	}
	if c.IsSet("count") {
		loaded.Runners.Count = c.Int("count")
	}
	githubSettings(c, &loaded)
	err := loaded.Validate()
	var problem *config.Error
	if errors.As(err, &problem) && problem.Field == "name" && c.IsSet("fleet") {
		err = &cmdline.UsageError{Command: cmdline.CommandName(c), Problem: "--fleet " + problem.Problem}
	}
	return loaded, err
}

func theme(c *cli.Context, d deps, tty bool) (ui.Theme, error) {
	mode, err := ui.ParseColorMode(c.String("color"))
	if err != nil {
		return ui.Theme{}, &cmdline.UsageError{Command: c.Command.Name, Problem: err.Error()}
	}
	return ui.NewTheme(mode, tty, d.env), nil
}

func wantJSON(c *cli.Context) (bool, error) {
	switch c.String("output") {
	case "table", "": // "" if the variable is empty
		return false, nil
	case "json":
		return true, nil
	}
	return false, &cmdline.UsageError{Command: c.Command.Name, Problem: fmt.Sprintf("--output %q: table or json", c.String("output"))}
}

// writeJSON prints the single document of -o json.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
