package cmdline

import (
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// CommandName returns the name of the command that runs, after those of the commands that it is
// a verb of: like "up" or "host drain". It is "" for the program itself.
func CommandName(c *cli.Context) string {
	var names []string
	for _, one := range c.Lineage() { // the innermost first
		if one.Command != nil && one.Command.Name != "" && one.Command.Name != c.App.Name {
			names = append(names, one.Command.Name)
		}
	}
	slices.Reverse(names)
	return strings.Join(names, " ")
}

// flagsFirst moves a command's flags before its positional arguments: urfave/cli v2 silently
// drops flags that follow an argument. Words after "--" stay where they are.
func (a *App) flagsFirst(args []string) []string {
	parts, ok := a.takeApart(args)
	if !ok {
		return args
	}
	return slices.Concat(args[:1], parts.names, parts.flags, parts.positional)
}

// parts are the words of a command line, apart.
type parts struct {
	names      []string // of the command, and of its verb if it has verbs
	flags      []string // each followed by its value
	positional []string
}

// takeApart separates the words of a command line. ok is false for a line without a known
// command, or with a command that parses its own flags.
func (a *App) takeApart(args []string) (apart parts, ok bool) {
	if len(args) < 2 {
		return parts{}, false
	}
	command, known := named(a.commands, args[1])
	if !known || command.SkipFlagParsing {
		return parts{}, false
	}
	command, names, rest := pickVerbs(command, args[2:])
	apart.names = append(args[1:2:2], names...)
	apart.flags, apart.positional = separate(command, rest)
	return apart, true
}

// pickVerbs takes the names of a command's verbs out of the words that follow the command, and
// returns the last verb. Flags may come before a verb.
func pickVerbs(command Command, words []string) (last Command, names, rest []string) {
	if len(command.Verbs) == 0 {
		return command, nil, words
	}
	wantsValue := flagsOf(command)
	for i := 0; i < len(words) && words[i] != "--"; i++ {
		if isFlag(words[i]) {
			if _, wanting := spread(words[i], wantsValue); wanting {
				i++
			}
			continue
		}
		verb, known := named(command.Verbs, words[i])
		if !known {
			break
		}
		last, names, rest = pickVerbs(verb, slices.Concat(words[:i], words[i+1:]))
		return last, append([]string{words[i]}, names...), rest
	}
	return command, nil, words
}

func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// flagsOf returns for each name of a command's flags, and of its verbs' flags, whether a value
// follows it.
func flagsOf(command Command) map[string]bool {
	wantsValue := map[string]bool{}
	for _, flag := range command.Flags {
		for _, name := range flag.Names() {
			wantsValue[name] = takesValue(flag)
		}
	}
	for _, verb := range command.Verbs {
		maps.Copy(wantsValue, flagsOf(verb))
	}
	return wantsValue
}

// separate separates a command's flags, each followed by its value, from its positional
// arguments.
func separate(command Command, words []string) (flags, positional []string) {
	wantsValue := flagsOf(command)
	own := command.PassThrough
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "--" && own == 0 { // "--" goes before the first positional argument
			return flags, slices.Concat([]string{"--"}, positional, words[i+1:])
		}
		if word == "--" || own > 0 && len(positional) == own {
			return flags, append(positional, words[i:]...)
		}
		if !isFlag(word) {
			positional = append(positional, word)
			continue
		}
		apart, wanting := spread(word, wantsValue)
		flags = append(flags, apart...)
		if !wanting {
			continue
		}
		if i++; i == len(words) || words[i] == "--" {
			return flags, nil // no argument becomes the missing value
		}
		flags = append(flags, words[i])
	}
	return flags, positional
}

// spread splits short flags that were typed as one word, like -ft or -ojson, because the flag
// package does not. Other words stay as they are. wanting reports whether the next word is the
// value of the last flag.
func spread(word string, wantsValue map[string]bool) (apart []string, wanting bool) {
	name := strings.TrimLeft(word, "-")
	value, known := wantsValue[name]
	if known || strings.HasPrefix(word, "--") || strings.Contains(word, "=") {
		return []string{word}, value
	}
	for i, letter := range name {
		if value, known = wantsValue[string(letter)]; !known {
			return []string{word}, false
		}
		apart = append(apart, "-"+string(letter))
		if rest := name[i+1:]; value && rest != "" {
			return append(apart, rest), false
		}
	}
	return apart, value
}

// FlagValue returns the value of a flag, by any of its names, from a command line that is not
// parsed yet. It returns "" if the flag is missing.
func (a *App) FlagValue(args []string, names ...string) (value string) {
	line, _ := a.takeApart(args)
	for i, word := range line.flags {
		name, given, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !joined && i+1 < len(line.flags) {
			given = line.flags[i+1]
		}
		if strings.HasPrefix(word, "-") && slices.Contains(names, name) {
			value = given
		}
	}
	return value
}
