package cmdline

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// CommandName returns the name of the command that runs, or "" for the program itself.
func CommandName(c *cli.Context) string {
	if c.Command == nil || c.Command.Name == c.App.Name {
		return ""
	}
	return c.Command.Name
}

// flagsFirst moves a command's flags before its positional arguments: urfave/cli v2 silently
// drops flags that follow an argument. Words after "--" stay where they are.
func (a *App) flagsFirst(args []string) []string {
	flags, positional, ok := a.takeApart(args)
	if !ok {
		return args
	}
	return append(append(append([]string{}, args[:2]...), flags...), positional...)
}

// takeApart separates a command's flags, each followed by its value, from its positional
// arguments. ok is false for a line without a known command, or with a command that parses its
// own flags.
func (a *App) takeApart(args []string) (flags, positional []string, ok bool) {
	if len(args) < 2 {
		return nil, nil, false
	}
	command, known := a.command(args[1])
	if !known || command.SkipFlagParsing {
		return nil, nil, false
	}
	wantsValue := map[string]bool{}
	for _, flag := range command.Flags {
		for _, name := range flag.Names() {
			wantsValue[name] = takesValue(flag)
		}
	}
	own := command.PassThrough
	rest := args[2:]
	for i := 0; i < len(rest); i++ {
		word := rest[i]
		if word == "--" && own == 0 { // "--" goes before the first positional argument
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
		apart, wanting := spread(word, wantsValue)
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
	flags, _, _ := a.takeApart(args)
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
