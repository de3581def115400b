package commands

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/scripts"
)

var shells = []string{"bash", "zsh", "fish"}

func completionCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "bash|zsh|fish",
		Description: "Completes commands, flags and their values, and the names of runners and fleets.\n\nExamples:\n" +
			"   source <(runnerctl completion bash)\n" +
			"   runnerctl completion zsh > \"${fpath[1]}/_runnerctl\"\n" +
			"   runnerctl completion fish > ~/.config/fish/completions/runnerctl.fish",
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if c.NArg() != 1 || !slices.Contains(shells, shell) {
				return &usageError{command: "completion", problem: "a shell is needed: bash, zsh or fish"}
			}
			script, err := scripts.Completion.ReadFile(path.Join("completion", shell))
			if err != nil {
				return err
			}
			_, err = d.streams.Out.Write(script)
			return err
		},
	}
}

// completeLimit is how long the engine may take to tell names: somebody waits
// at a prompt.
const completeLimit = time.Second

// completeCommand answers the completion scripts: what the last of the given
// words can become, a line each, with what it means after a tab. The lines
// :files and :folders stand for the shell's own completion.
func completeCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Usage:           "answer the completion scripts",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			for _, one := range complete(c.App, c.Args().Slice(), func(what names) []string { return askNames(c.Context, d, what) }) {
				fmt.Fprintln(d.streams.Out, strings.TrimSuffix(one.Term+"\t"+one.Text, "\t"))
			}
			return nil
		},
	}
}

type names string

const (
	runnerNames names = "runners"
	fleetNames  names = "fleets"
	hostNames   names = "hosts"

	files   = ":files"
	folders = ":folders"
)

// askNames is silent where no engine answers: there is nothing to complete.
func askNames(ctx context.Context, d deps, what names) []string {
	if what == hostNames {
		return d.hosts.names()
	}
	ctx, cancel := context.WithTimeout(ctx, completeLimit)
	defer cancel()
	var mu sync.Mutex
	var all []string
	_ = onEach(eachHost(d), func(d deps) error { // what answers is offered
		engine, _, err := connect(d)
		if err != nil {
			return err
		}
		defer engine.Close()
		list := engine.Fleets
		if what == runnerNames {
			list = engine.RunnerNames
		}
		found, err := list(ctx)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, found...)
		return err
	})
	return unique(all...)
}

// flagValues are the values of flags that have only a few, on whatever command.
var flagValues = map[string][]string{
	"color":    {"auto", "always", "never"},
	"output":   {"table", "json"},
	"progress": {"auto", "tty", "plain", "quiet"},
	"source":   {"start", "containerd", "dockerd", "agent"},
}

// takesRunners tells how many runners a command names; cp's are followed by a
// colon and a path.
var takesRunners = map[string]int{"exec": 1, "inspect": 1, "cp": 2, "logs": 1 << 10}

// complete is the pure part: what the last word can become.
func complete(app *cli.App, words []string, ask func(names) []string) []ui.Definition {
	if len(words) == 0 {
		return nil
	}
	current := words[len(words)-1]
	if len(words) == 1 {
		if strings.HasPrefix(current, "-") {
			return matching(current, flagTerms(app.Flags))
		}
		return matching(current, visibleCommands(app))
	}
	command := app.Command(words[0])
	if command == nil {
		return nil
	}
	before := words[1 : len(words)-1]
	if name, value, joined := strings.Cut(current, "="); joined && strings.HasPrefix(current, "--") {
		found := valuesOf(flagNamed(command, strings.TrimLeft(name, "-")), value, ask)
		for i := range found {
			if found[i].Term != files && found[i].Term != folders {
				found[i].Term = name + "=" + found[i].Term
			}
		}
		return found
	}
	if len(before) > 0 {
		last := before[len(before)-1]
		if flag := flagNamed(command, strings.TrimLeft(last, "-")); strings.HasPrefix(last, "-") && flag != nil && takesValue(flag) {
			return valuesOf(flag, current, ask)
		}
	}
	_, positional, _ := takeApart(app, append([]string{app.Name, command.Name}, before...))
	if slices.Contains(before, "--") || command.Name == "exec" && len(positional) > 1 {
		return nil // a command inside a runner
	}
	if strings.HasPrefix(current, "-") {
		return matching(current, append(flagTerms(command.VisibleFlags()), ui.Definition{Term: "--help", Text: "show help"}))
	}
	return matching(current, arguments(app, command, positional, ask))
}

func arguments(app *cli.App, command *cli.Command, given []string, ask func(names) []string) []ui.Definition {
	switch {
	case command.Name == "help" && len(given) == 0:
		return visibleCommands(app)
	case command.Name == "completion" && len(given) == 0:
		return terms(shells)
	case len(given) >= takesRunners[command.Name]:
		return nil
	}
	var found []ui.Definition
	for _, name := range ask(runnerNames) {
		switch {
		case command.Name == "cp":
			found = append(found, ui.Definition{Term: name + ":"})
		case !slices.Contains(given, name):
			found = append(found, ui.Definition{Term: name})
		}
	}
	if command.Name == "cp" {
		found = append(found, ui.Definition{Term: files})
	}
	return found
}

// valuesOf are what a flag's value can be.
func valuesOf(flag cli.Flag, current string, ask func(names) []string) []ui.Definition {
	if flag == nil {
		return nil
	}
	name := flag.Names()[0]
	switch {
	case flagValues[name] != nil:
		return matching(current, terms(flagValues[name]))
	case name == "fleet":
		return matching(current, terms(ask(fleetNames)))
	case name == "host":
		return matching(current, terms(ask(hostNames)))
	case placeholder(flag) == "FILE":
		return terms([]string{files})
	case strings.HasPrefix(placeholder(flag), "DIR"):
		return terms([]string{folders})
	}
	return nil
}

func matching(current string, all []ui.Definition) (found []ui.Definition) {
	for _, one := range all {
		if one.Term == files || strings.HasPrefix(one.Term, current) {
			found = append(found, one)
		}
	}
	return found
}

func terms(words []string) (all []ui.Definition) {
	for _, word := range words {
		all = append(all, ui.Definition{Term: word})
	}
	return all
}

func visibleCommands(app *cli.App) (all []ui.Definition) {
	for _, group := range grouped(app) {
		all = append(all, commandTerms(group.commands)...)
	}
	return all
}

// flagTerms are the long names of flags; the short ones are quicker typed.
func flagTerms(flags []cli.Flag) (all []ui.Definition) {
	for _, flag := range flags {
		all = append(all, ui.Definition{Term: "--" + flag.Names()[0], Text: flagDefinition(flag).Text})
	}
	return all
}

func flagNamed(command *cli.Command, name string) cli.Flag {
	for _, flag := range command.Flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

func takesValue(flag cli.Flag) bool {
	_, boolean := flag.(*cli.BoolFlag)
	return !boolean
}
