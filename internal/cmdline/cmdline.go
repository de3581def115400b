// Package cmdline adds the features that urfave/cli v2 lacks: flags after arguments, usage
// errors on stderr with a suggestion, help in groups, completion and a man page, also for
// commands that have commands of their own. It knows commands and flags but nothing about
// runners. It may import internal/ui and
// internal/spelling.
package cmdline

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// Command is a command with everything that help and completion show about it. Its Category is
// its group in help.
type Command struct {
	*cli.Command
	// PassThrough is the number of positional arguments after which all words belong to
	// another program. It is 2 for "exec NAME CMD", where CMD is that program, and 0 if there
	// is no such program.
	PassThrough int
	// Arguments are the candidates for the positional arguments.
	Arguments Candidates
	// Verbs are the command's own commands. A command with Verbs does nothing by itself.
	Verbs []Command
}

// named finds a command by its name or alias.
func named(commands []Command, name string) (Command, bool) {
	for _, one := range commands {
		if one.HasName(name) {
			return one, true
		}
	}
	return Command{}, false
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

// Text is the general text of help and the man page.
type Text struct {
	Precedence string      // order of flags, environment and files
	Files      [][2]string // path and meaning
	Exit       [][2]string // code and meaning
	ExitNote   string
	Version    string
}

// New prepares the app and its commands. Errors return to the caller instead of ending the
// process, and this package prints the help. groups are the categories of commands in the
// order of help; commands of any other category go to the last group.
func New(app *cli.App, commands []Command, groups []string, text Text) *App {
	a := &App{App: app, commands: commands, groups: groups, text: text}
	app.Metadata = map[string]any{program: a}
	app.HideVersion, app.HideHelp = true, true
	app.ExitErrHandler = func(*cli.Context, error) {} // the default handler exits before deferred calls run
	app.OnUsageError = a.usageError
	for _, command := range commands {
		a.adopt(command)
		app.Commands = append(app.Commands, command.Command)
	}
	return a
}

// adopt prepares a command and its verbs for urfave/cli.
func (a *App) adopt(command Command) {
	command.OnUsageError, command.HideHelp = a.usageError, true
	for _, verb := range command.Verbs {
		a.adopt(verb)
		command.Subcommands = append(command.Subcommands, verb.Command)
	}
	if len(command.Verbs) > 0 {
		command.Action = func(c *cli.Context) error { return missingVerb(c, command) }
	}
}

// From returns the app whose command runs.
func From(c *cli.Context) *App { return c.App.Metadata[program].(*App) }

// Arrange rewrites a command line so that urfave/cli understands it as the user meant it:
// flags may follow arguments, and a --help anywhere only asks for help.
func (a *App) Arrange(args []string) []string { return a.helpFirst(a.flagsFirst(args)) }

// find follows words from a command to one of its verbs, up to the first word that is neither. It
// returns the last command, and the names of all.
func (a *App) find(words []string) (found Command, names []string) {
	commands := a.commands
	for _, word := range words {
		next, known := named(commands, word)
		if !known {
			break
		}
		found, commands = next, next.Verbs
		names = append(names, next.Name)
	}
	return found, names
}

// UsageError reports a wrong command line.
type UsageError struct {
	Command string // "" for the program itself, else like "up" or "host drain"
	Problem string
}

func (e *UsageError) Error() string { return e.Problem }

// Hint names the help to read.
func (e *UsageError) Hint() string {
	return "see '" + strings.TrimSpace(program+" "+e.Command) + " --help'"
}

// EmptyBoolean rejects an environment variable of a boolean flag that is set but empty:
// urfave/cli would take it for a deliberate false.
func EmptyBoolean(c *cli.Context) error {
	for _, flag := range c.Command.Flags {
		boolean, ok := flag.(*cli.BoolFlag)
		if !ok {
			continue
		}
		for _, name := range boolean.EnvVars {
			if value, set := os.LookupEnv(name); set && value == "" {
				return &UsageError{Command: CommandName(c), Problem: "$" + name + " is empty: expected true or false, or unset"}
			}
		}
	}
	return nil
}

// NoArguments rejects positional arguments for a command that takes none.
func NoArguments(c *cli.Context) error {
	if c.NArg() > 0 {
		return &UsageError{Command: CommandName(c), Problem: fmt.Sprintf("unexpected argument %q", c.Args().First())}
	}
	return nil
}
