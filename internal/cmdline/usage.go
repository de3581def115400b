package cmdline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/spelling"
)

func (a *App) usageError(c *cli.Context, err error, _ bool) error {
	return &UsageError{Command: CommandName(c), Problem: flagProblem(c.App, c.Command, err.Error())}
}

// These match messages of the flag parsers of the standard library and of urfave/cli.
var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -(.+)$`)
	noValue     = regexp.MustCompile(`^flag needs an argument: -(.+)$`)
	wrongValue  = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^:]+): `)
	wrongEnv    = regexp.MustCompile(`^could not parse (".*") as .* value from environment variable "([^"]+)" for flag ([^:]+): `)
)

// flagProblem rewrites a parser's message to name the flag and the value that it expects.
func flagProblem(app *cli.App, command *cli.Command, problem string) string {
	if parts := unknownFlag.FindStringSubmatch(problem); parts != nil {
		return unknown(app, command, parts[1])
	}
	if parts := noValue.FindStringSubmatch(problem); parts != nil {
		return dashed(parts[1]) + ": a value is required"
	}
	if parts := wrongValue.FindStringSubmatch(problem); parts != nil {
		return fmt.Sprintf("%s %s: expected %s", dashed(parts[2]), parts[1], expected(command, parts[2]))
	}
	if parts := wrongEnv.FindStringSubmatch(problem); parts != nil {
		return fmt.Sprintf("%s=%s: expected %s", parts[2], parts[1], expected(command, parts[3]))
	}
	return problem
}

func unknown(app *cli.App, command *cli.Command, name string) string {
	problem := "unknown flag " + dashed(name)
	if near := spelling.Nearest(name, flagNames(command.Flags)); near != "" {
		return problem + ": did you mean " + dashed(near) + "?"
	}
	if command.Name != app.Name {
		return problem
	}
	for _, other := range app.Commands {
		if slices.Contains(flagNames(other.Flags), name) {
			return problem + ": flags come after the command"
		}
	}
	return problem
}

// UnknownCommand returns the error for an unknown command, and suggests the most similar one.
func (a *App) UnknownCommand(name string) error {
	var names []string
	for _, command := range a.VisibleCommands() {
		names = append(names, command.Name)
	}
	problem := fmt.Sprintf("unknown command %q", name)
	if near := spelling.Nearest(name, names); near != "" {
		problem += fmt.Sprintf(": did you mean %q?", near)
	}
	return &UsageError{Problem: problem}
}

func flagNames(flags []cli.Flag) (names []string) {
	for _, flag := range flags {
		names = append(names, flag.Names()...)
	}
	return names
}

// dashed returns a flag's name as users type it.
func dashed(name string) string {
	if len([]rune(name)) == 1 {
		return "-" + name
	}
	return "--" + strings.TrimLeft(name, "-")
}

func expected(command *cli.Command, name string) string {
	for _, flag := range command.Flags {
		if !slices.Contains(flag.Names(), name) {
			continue
		}
		switch flag.(type) {
		case *cli.BoolFlag:
			return "true or false"
		case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag:
			return "a whole number"
		case *cli.Float64Flag:
			return "a number"
		case *cli.DurationFlag:
			return "a duration like 60s or 2m"
		}
	}
	return "another value"
}
