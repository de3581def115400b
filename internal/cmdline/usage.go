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
	return &UsageError{Command: CommandName(c), Problem: a.flagProblem(c, err.Error())}
}

// These match messages of the flag parsers of the standard library and of urfave/cli.
var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -(.+)$`)
	noValue     = regexp.MustCompile(`^flag needs an argument: -(.+)$`)
	wrongValue  = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^:]+): `)
	wrongEnv    = regexp.MustCompile(`^could not parse (".*") as .* value from environment variable "([^"]+)" for flag ([^:]+): `)
)

// flagProblem rewrites a parser's message to name the flag and the value that it expects.
func (a *App) flagProblem(c *cli.Context, problem string) string {
	if parts := unknownFlag.FindStringSubmatch(problem); parts != nil {
		return a.unknownFlag(c, parts[1])
	}
	if parts := noValue.FindStringSubmatch(problem); parts != nil {
		return dashed(parts[1]) + ": a value is required"
	}
	if parts := wrongValue.FindStringSubmatch(problem); parts != nil {
		return fmt.Sprintf("%s %s: expected %s", dashed(parts[2]), parts[1], expected(c.Command, parts[2]))
	}
	if parts := wrongEnv.FindStringSubmatch(problem); parts != nil {
		return fmt.Sprintf("%s=%s: expected %s", parts[2], parts[1], expected(c.Command, parts[3]))
	}
	return problem
}

func (a *App) unknownFlag(c *cli.Context, name string) string {
	problem := "unknown flag " + dashed(name)
	words := strings.Fields(CommandName(c))
	if others := a.verbsWith(words, name); len(others) > 0 {
		return problem + ": it belongs to " + strings.Join(others, ", ")
	}
	if near := spelling.Nearest(name, flagNames(c.Command.Flags)); near != "" {
		return problem + ": did you mean " + dashed(near) + "?"
	}
	if len(words) == 0 && anyHas(a.commands, name) {
		return problem + ": flags come after the command"
	}
	return problem
}

// verbsWith lists the verbs that have a flag: those of the command that words name, or of the
// command that it is a verb of.
func (a *App) verbsWith(words []string, flag string) (found []string) {
	for len(words) > 0 {
		group, _ := a.find(words)
		for _, verb := range group.Verbs {
			if slices.Contains(flagNames(verb.Flags), flag) {
				found = append(found, strings.Join(words, " ")+" "+verb.Name)
			}
		}
		words = words[:len(words)-1]
	}
	return found
}

// anyHas reports whether one of the commands, or a verb of one, has a flag.
func anyHas(commands []Command, flag string) bool {
	return slices.ContainsFunc(commands, func(one Command) bool {
		return slices.Contains(flagNames(one.Flags), flag) || anyHas(one.Verbs, flag)
	})
}

// UnknownCommand returns the error for an unknown command, and suggests the most similar one.
func (a *App) UnknownCommand(name string) error {
	return &UsageError{Problem: unknownCommand("", name, a.commands)}
}

// unknownCommand describes a name that none of the commands has. group is the name of the
// command whose verbs they are.
func unknownCommand(group, name string, commands []Command) string {
	var names []string
	for _, command := range commands {
		if !command.Hidden {
			names = append(names, command.Name)
		}
	}
	problem := fmt.Sprintf("unknown command %q", strings.TrimSpace(group+" "+name))
	if near := spelling.Nearest(name, names); near != "" {
		problem += fmt.Sprintf(": did you mean %q?", near)
	}
	return problem
}

// missingVerb returns the error for a command that has verbs and was given none of them.
func missingVerb(c *cli.Context, group Command) error {
	var names []string
	for _, verb := range group.Verbs {
		names = append(names, verb.Name)
	}
	slices.Sort(names)
	return &UsageError{Command: CommandName(c), Problem: "specify an action: " + strings.Join(names, ", ")}
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
