// Package commands is the command line: one file a verb. Each turns its flags
// into an options struct and calls one function.
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
	"strings"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Exit codes (README).
const (
	exitFailure     = 1
	exitUsage       = 2
	exitAuth        = 4
	exitInterrupted = 130
)

// errFailed ends a command with code 1 where all has been said already.
var errFailed = errors.New("failed")

// exitCode is the code of a command that ran inside a runner, passed on.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError is a wrong command line.
type usageError struct {
	command string
	problem string
}

func (e *usageError) Error() string { return e.problem }

func (e *usageError) Hint() string {
	return "see '" + strings.TrimSpace("runnerctl "+e.command) + " --help'"
}

// deps is what every command gets from outside.
type deps struct {
	streams ui.Streams
	env     func(string) string
	prompt  ui.Prompter
	goos    string // this client's operating system
	color   ui.ColorMode
	host    string // what --host names; "": the settings' hosts, else docker's own choice
	hosts   inventory
}

// asks tells whether there is a person to ask, on a terminal that can do what questions
// need.
func (d deps) asks() bool { return d.streams.InTTY && d.redraws() }

// redraws tells whether stderr is a terminal that can move its cursor.
func (d deps) redraws() bool { return d.streams.ErrTTY && d.env("TERM") != "dumb" }

// Main runs the program on the process's own streams and returns its exit code.
// The first Ctrl-C cancels and lets commands clean up, the second ends at once.
func Main(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
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

// run is Main with everything given.
func run(ctx context.Context, d deps, args []string) int {
	out := &output{Writer: d.streams.Out}
	d.streams.Out = out
	words := newApp(d) // tells which words are flags
	d.color = wantedColor(words, args, d.env)
	d.host, d.hosts = wantedHost(words, args, d.env)
	ui.PromptColor(d.color != "never")
	app := newApp(d)
	err := app.RunContext(ctx, helpFirst(app, flagsFirst(app, args)))
	if err == nil && out.err != nil {
		err = fmt.Errorf("standard output: %w", out.err)
	}
	return report(ctx, d, err)
}

// output remembers that something could not be written, a full disk's file for one: who
// prints a table looks at no error.
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

// Fd is the terminal's, of which the width is asked; none where there is none.
func (o *output) Fd() uintptr {
	if file, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return file.Fd()
	}
	return ^uintptr(0)
}

func report(ctx context.Context, d deps, err error) int {
	var code exitCode
	var usage *usageError
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
	if authFailed(err) {
		return exitAuth
	}
	return exitFailure
}

// flatten takes errors.Join apart, so that each is told with its own hint.
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

func newApp(d deps) *cli.App {
	app := &cli.App{
		Name:           "runnerctl",
		Usage:          "self-hosted GitHub Actions runners with Docker inside, never privileged",
		HideVersion:    true,
		HideHelp:       true, // help.go's
		Writer:         d.streams.Out,
		ErrWriter:      d.streams.Err,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help, of a command: runnerctl COMMAND --help"},
			&cli.BoolFlag{Name: "version", Usage: "print runnerctl's own version"},
		},
		Commands: []*cli.Command{
			initCommand(d), doctorCommand(d), buildCommand(d), upCommand(d),
			psCommand(d), execCommand(d), downCommand(d), demoCommand(d), versionCommand(d),
			logsCommand(d), runCommand(d), cpCommand(d), inspectCommand(d), pruneCommand(d),
			superviseCommand(d), insideCommand(d), eventsCommand(d), hostCommand(d),
			completionCommand(d), completeCommand(d), probeCommand(d), manCommand(d), simCommand(d), helpCommand(d),
		},
		Before: func(c *cli.Context) error {
			if c.Bool("version") && c.NArg() > 0 { // never a command that goes on without the flag
				return &usageError{problem: fmt.Sprintf("--version: unexpected argument %q", c.Args().First())}
			}
			return nil
		},
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case c.Bool("version"):
				fmt.Fprintln(d.streams.Out, "runnerctl", Version)
				return nil
			case name != "":
				return unknownCommand(c.App, name)
			}
			writeOverview(d.streams.Out, c.App)
			return nil
		},
	}
	for _, command := range app.Commands {
		command.OnUsageError = onUsageError
		command.HideHelp = true
		if !command.SkipFlagParsing {
			addCommonFlags(command)
		}
	}
	return app
}

// addCommonFlags adds what every command understands.
func addCommonFlags(command *cli.Command) {
	if !slices.ContainsFunc(command.Flags, func(flag cli.Flag) bool { return flag.Names()[0] == "color" }) {
		command.Flags = append(command.Flags, colorFlag())
	}
	if !slices.Contains(withoutEngine, command.Name) {
		command.Flags = append(command.Flags, hostFlag())
	}
	command.Before = func(c *cli.Context) error {
		if _, err := ui.ParseColorMode(c.String("color")); err != nil {
			return &usageError{command: command.Name, problem: err.Error()}
		}
		return emptyBoolean(command)
	}
}

// emptyBoolean refuses a variable that says neither yes nor no: urfave/cli would take it
// for a no that was meant.
func emptyBoolean(command *cli.Command) error {
	for _, flag := range command.Flags {
		boolean, ok := flag.(*cli.BoolFlag)
		if !ok {
			continue
		}
		for _, name := range boolean.EnvVars {
			if value, set := os.LookupEnv(name); set && value == "" {
				return &usageError{command: command.Name, problem: "$" + name + " is empty: expected true or false, or no such variable"}
			}
		}
	}
	return nil
}

func commandName(c *cli.Context) string {
	if c.Command == nil || c.Command.Name == c.App.Name {
		return ""
	}
	return c.Command.Name
}

// flagsFirst moves a command's flags before its positional arguments: urfave/cli
// v2 silently drops flags that come after one. All after "--" stays.
func flagsFirst(app *cli.App, args []string) []string {
	flags, positional, ok := takeApart(app, args)
	if !ok {
		return args
	}
	return append(append(append([]string{}, args[:2]...), flags...), positional...)
}

// takeApart tells a command's flags, each followed by its value, from its
// positional arguments.
func takeApart(app *cli.App, args []string) (flags, positional []string, ok bool) {
	if len(args) < 2 {
		return nil, nil, false
	}
	command := app.Command(args[1])
	if command == nil || command.SkipFlagParsing {
		return nil, nil, false
	}
	takesValue := map[string]bool{}
	for _, flag := range command.Flags {
		_, boolean := flag.(*cli.BoolFlag)
		for _, name := range flag.Names() {
			takesValue[name] = !boolean
		}
	}
	// Of exec and run, what follows the command (and the runner's name) is the command's.
	own := map[string]int{"exec": 2, "run": 1}[command.Name]
	rest := args[2:]
	for i := 0; i < len(rest); i++ {
		word := rest[i]
		if word == "--" && own == 0 { // it goes before the first of them
			return flags, slices.Concat([]string{"--"}, positional, rest[i+1:]), true
		}
		if word == "--" || own > 0 && len(positional) == own {
			positional = append(positional, rest[i:]...)
			break
		}
		if len(word) < 2 || word[0] != '-' {
			positional = append(positional, word)
			continue
		}
		apart, wanting := spread(word, takesValue)
		flags = append(flags, apart...)
		if !wanting {
			continue
		}
		if i++; i == len(rest) || rest[i] == "--" {
			return flags, nil, true // no argument becomes the missing value
		}
		flags = append(flags, rest[i])
	}
	return flags, positional, true
}

// spread takes short flags apart that were typed as one word, like -ft or -ojson, which
// flag does not; another word stays as it is. wanting tells whether the last one's
// value is still to come.
func spread(word string, takesValue map[string]bool) (apart []string, wanting bool) {
	name := strings.TrimLeft(word, "-")
	value, known := takesValue[name]
	if known || strings.HasPrefix(word, "--") || strings.Contains(word, "=") {
		return []string{word}, value
	}
	for i, letter := range name {
		if value, known = takesValue[string(letter)]; !known {
			return []string{word}, false
		}
		apart = append(apart, "-"+string(letter))
		if rest := name[i+1:]; value && rest != "" {
			return append(apart, rest), false
		}
	}
	return apart, value
}

// wantedColor is known before the command line is parsed, so that its errors
// have it too. A wrong value is told by the command.
func wantedColor(app *cli.App, args []string, env func(string) string) ui.ColorMode {
	mode, err := ui.ParseColorMode(cmp.Or(flagValue(app, args, "color"), env("RUNNERCTL_COLOR"), "auto"))
	if err != nil {
		return "auto"
	}
	return mode
}

// flagValue is what a command line gives a flag, by any of its names; "" where it does
// not.
func flagValue(app *cli.App, args []string, names ...string) (value string) {
	flags, _, _ := takeApart(app, args)
	for i, word := range flags {
		name, given, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !joined && i+1 < len(flags) {
			given = flags[i+1]
		}
		if strings.HasPrefix(word, "-") && slices.Contains(names, name) {
			value = given
		}
	}
	return value
}

// noArguments refuses positional arguments where a command takes none.
func noArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return &usageError{command: c.Command.Name, problem: fmt.Sprintf("unexpected argument %q", c.Args().First())}
	}
	return nil
}

// Flags that several commands share.
func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "read settings from `FILE`; none is needed", DefaultText: "./" + config.DefaultFile, EnvVars: []string{"RUNNERCTL_CONFIG"}, Category: "Settings"}
}

func configFlags() []cli.Flag {
	return []cli.Flag{
		configFlag(),
		&cli.StringFlag{Name: "fleet", Usage: "`NAME` of the fleet", DefaultText: "the file's name:, else ci", EnvVars: []string{"RUNNERCTL_FLEET"}, Category: "Settings"},
	}
}

func colorFlag() cli.Flag {
	return &cli.StringFlag{Name: "color", Usage: "colour `WHEN`: auto, always or never", Value: "auto", EnvVars: []string{"RUNNERCTL_COLOR"}, Category: "Output"}
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: table or json", Value: "table", EnvVars: []string{"RUNNERCTL_OUTPUT"}, Category: "Output"}
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
		err = &usageError{command: commandName(c), problem: "--fleet " + problem.Problem}
	}
	return loaded, err
}

func theme(c *cli.Context, d deps, tty bool) (ui.Theme, error) {
	mode, err := ui.ParseColorMode(c.String("color"))
	if err != nil {
		return ui.Theme{}, &usageError{command: c.Command.Name, problem: err.Error()}
	}
	return ui.NewTheme(mode, tty, d.env), nil
}

func wantJSON(c *cli.Context) (bool, error) {
	switch c.String("output") {
	case "table", "": // of a variable that is empty
		return false, nil
	case "json":
		return true, nil
	}
	return false, &usageError{command: c.Command.Name, problem: fmt.Sprintf("--output %q: table or json", c.String("output"))}
}

// writeJSON prints the one document of -o json.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
