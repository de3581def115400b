// Package cmdline adds to urfave/cli v2 what it lacks: flags after arguments, usage errors
// on stderr with a suggestion, help in groups, completion and a man page. It knows
// commands and flags and nothing of runners. It may import internal/ui and
// internal/spelling.
package cmdline

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// Command is a command with everything that help and completion show of it. Its Category
// is its group in help.
type Command struct {
	*cli.Command
	// PassThrough counts the positional arguments after which all words belong to another
	// program: 2 of "exec NAME CMD", whose second one is that program. 0: there is none.
	PassThrough int
	// Arguments are offered for the positional arguments.
	Arguments Candidates
}

// program is the name that users type.
const program = "runnerctl"

// App is a command line.
type App struct {
	*cli.App
	commands []Command
	groups   []string
	text     Text
}

// Text is what help and the man page say of the whole program.
type Text struct {
	Precedence string      // of flags, environment and files
	Files      [][2]string // path and meaning
	Exit       [][2]string // code and meaning
	ExitNote   string
	Version    string
}

// New prepares the app and its commands: errors return to the caller instead of ending
// the process, and help is this package's own. groups are the categories of commands in
// the order of help; commands of another category are in the last group.
func New(app *cli.App, commands []Command, groups []string, text Text) *App {
	a := &App{App: app, commands: commands, groups: groups, text: text}
	app.Metadata = map[string]any{program: a}
	app.HideVersion, app.HideHelp = true, true
	app.ExitErrHandler = func(*cli.Context, error) {} // cli's own ends the process before deferred work
	app.OnUsageError = a.usageError
	for _, command := range commands {
		command.OnUsageError, command.HideHelp = a.usageError, true
		app.Commands = append(app.Commands, command.Command)
	}
	return a
}

// From is the app whose command runs.
func From(c *cli.Context) *App { return c.App.Metadata[program].(*App) }

// Arrange rewrites a command line so that urfave/cli understands it as its user means it:
// flags may follow arguments, and a --help anywhere asks for help only.
func (a *App) Arrange(args []string) []string { return a.helpFirst(a.flagsFirst(args)) }

// command finds the extended form of a command by its name or alias.
func (a *App) command(name string) (Command, bool) {
	for _, one := range a.commands {
		if one.HasName(name) {
			return one, true
		}
	}
	return Command{}, false
}

// UsageError is a wrong command line.
type UsageError struct {
	Command string // "": the program itself
	Problem string
}

func (e *UsageError) Error() string { return e.Problem }

// Hint names the help to read.
func (e *UsageError) Hint() string {
	return "see '" + strings.TrimSpace(program+" "+e.Command) + " --help'"
}

// EmptyBoolean refuses an environment variable of a boolean flag that is set and empty:
// urfave/cli would take it for a deliberate false.
func EmptyBoolean(command *cli.Command) error {
	for _, flag := range command.Flags {
		boolean, ok := flag.(*cli.BoolFlag)
		if !ok {
			continue
		}
		for _, name := range boolean.EnvVars {
			if value, set := os.LookupEnv(name); set && value == "" {
				return &UsageError{Command: command.Name, Problem: "$" + name + " is empty: expected true or false, or no such variable"}
			}
		}
	}
	return nil
}

// NoArguments refuses positional arguments of a command that takes none.
func NoArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return &UsageError{Command: c.Command.Name, Problem: fmt.Sprintf("unexpected argument %q", c.Args().First())}
	}
	return nil
}
