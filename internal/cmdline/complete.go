package cmdline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/ui"
)

// The shell itself completes these.
const (
	files   = ":files"
	folders = ":folders"
)

// Commands is the Kind of the app's own commands, and of the verbs that follow them.
const Commands = "commands"

// Candidates are the values that completion offers.
type Candidates struct {
	Words  []string // fixed ones
	Kind   string   // kind of names that the caller of Complete looks up; "" for none
	Suffix string   // follows each name
	Files  bool     // also offer the shell's own completion of files
	Most   int      // maximum number of arguments of this kind
}

// Choice is a flag whose values are known.
type Choice struct {
	Flag
	Candidates
}

// Flag is a flag of urfave/cli with everything that help shows about it.
type Flag interface {
	cli.Flag
	cli.DocGenerationFlag
	cli.CategorizableFlag
	cli.VisibleFlag
}

// Complete lists the possible completions of the last word. words are the words after the
// program's name; lookUp finds the names of a Kind. The terms ":files" and ":folders" stand
// for the shell's own completion.
func (a *App) Complete(words []string, lookUp func(kind string) []string) []ui.Definition {
	if len(words) == 0 {
		return nil
	}
	current := words[len(words)-1]
	if len(words) == 1 {
		if strings.HasPrefix(current, "-") {
			return matching(current, flagTerms(a.Flags))
		}
		return matching(current, a.visibleCommands())
	}
	command, known := named(a.commands, words[0])
	if !known {
		return nil
	}
	command, _, before := pickVerbs(command, words[1:len(words)-1])
	if name, value, joined := strings.Cut(current, "="); joined && strings.HasPrefix(current, "--") {
		found := valuesOf(flagNamed(command.Flags, strings.TrimLeft(name, "-")), value, lookUp)
		for i := range found {
			if found[i].Term != files && found[i].Term != folders {
				found[i].Term = name + "=" + found[i].Term
			}
		}
		return found
	}
	if len(before) > 0 {
		last := before[len(before)-1]
		if flag := flagNamed(command.Flags, strings.TrimLeft(last, "-")); strings.HasPrefix(last, "-") && flag != nil && takesValue(flag) {
			return valuesOf(flag, current, lookUp)
		}
	}
	_, given := separate(command, before)
	if slices.Contains(before, "--") || command.PassThrough > 1 && len(given) >= command.PassThrough {
		return nil // belongs to another program
	}
	if strings.HasPrefix(current, "-") {
		return matching(current, append(flagTerms(command.VisibleFlags()), ui.Definition{Term: "--help", Text: "show help"}))
	}
	if len(command.Verbs) > 0 && len(given) == 0 {
		return matching(current, commandTerms(command.VisibleCommands()))
	}
	return matching(current, a.arguments(command.Arguments, given, lookUp))
}

func (a *App) arguments(of Candidates, given []string, lookUp func(kind string) []string) []ui.Definition {
	if of.Kind == Commands {
		return a.commandsAfter(given)
	}
	if len(given) >= of.Most {
		return nil
	}
	found := terms(of.Words)
	if of.Kind != "" {
		for _, name := range lookUp(of.Kind) {
			if !slices.Contains(given, name) {
				found = append(found, ui.Definition{Term: name + of.Suffix})
			}
		}
	}
	if of.Files {
		found = append(found, ui.Definition{Term: files})
	}
	return found
}

// valuesOf lists the values of a flag. The flag's placeholder shows whether they are files.
func valuesOf(flag cli.Flag, current string, lookUp func(kind string) []string) []ui.Definition {
	if flag == nil {
		return nil
	}
	choice, known := flag.(*Choice)
	switch {
	case known && choice.Kind != "":
		return matching(current, terms(lookUp(choice.Kind)))
	case known:
		return matching(current, terms(choice.Words))
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

func (a *App) visibleCommands() (all []ui.Definition) {
	for _, group := range a.grouped() {
		all = append(all, commandTerms(group.commands)...)
	}
	return all
}

// commandsAfter lists the commands, or the verbs of the command that the words name.
func (a *App) commandsAfter(words []string) []ui.Definition {
	if len(words) == 0 {
		return a.visibleCommands()
	}
	command, names := a.find(words)
	if len(names) < len(words) {
		return nil
	}
	return commandTerms(command.VisibleCommands())
}

// flagTerms lists the long names of flags. Short names are typed faster than completed.
func flagTerms(flags []cli.Flag) (all []ui.Definition) {
	for _, flag := range flags {
		all = append(all, ui.Definition{Term: "--" + flag.Names()[0], Text: FlagDefinition(flag).Text})
	}
	return all
}

func flagNamed(flags []cli.Flag, name string) cli.Flag {
	for _, flag := range flags {
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
