package cmdline

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/ui"
)

// helpFirst turns a command line that asks for help anywhere into `help COMMAND`, and ignores
// the rest of the line.
func (a *App) helpFirst(args []string) []string {
	asks := func(word string) bool { return word == "--help" || word == "-help" || word == "-h" }
	for i, word := range args[min(1, len(args)):] {
		if asks(word) {
			return append([]string{args[0], "help"}, a.firstCommand(args[i+2:])...)
		}
		if !strings.HasPrefix(word, "-") {
			break
		}
	}
	line, _ := a.takeApart(args)
	if slices.ContainsFunc(line.flags, asks) {
		return append([]string{args[0], "help"}, line.names...)
	}
	return args
}

// firstCommand returns the words that name a command, or the first word if it names none.
func (a *App) firstCommand(args []string) []string {
	words := slices.DeleteFunc(slices.Clone(args), func(word string) bool { return strings.HasPrefix(word, "-") })
	_, names := a.find(words)
	return words[:min(max(len(names), 1), len(words))]
}

type commandGroup struct {
	title    string
	commands []*cli.Command
}

// grouped returns the commands that help shows.
func (a *App) grouped() (out []commandGroup) {
	for i, title := range a.groups {
		group := commandGroup{title: title}
		for _, one := range a.commands {
			last := i == len(a.groups)-1 && !slices.Contains(a.groups, one.Category)
			if !one.Hidden && (one.Category == title || last) {
				group.commands = append(group.commands, one.Command)
			}
		}
		if len(group.commands) > 0 {
			out = append(out, group)
		}
	}
	return out
}

// WriteOverview prints the help of the program: its commands in groups, and its flags.
func (a *App) WriteOverview(w io.Writer) {
	ui.Paragraph(w, a.Name+": "+a.Usage)
	fmt.Fprintf(w, "\nUsage: %s COMMAND [flags]\n", a.Name)
	var flags []ui.Definition
	for _, flag := range a.Flags {
		flags = append(flags, FlagDefinition(flag))
	}
	all := flags
	groups := a.grouped()
	for _, group := range groups {
		all = append(all, commandTerms(group.commands)...)
	}
	for _, group := range groups {
		fmt.Fprintf(w, "\n%s\n", group.title)
		ui.Definitions(w, commandTerms(group.commands), all)
	}
	fmt.Fprintf(w, "\nFlags\n")
	ui.Definitions(w, flags, all)
	fmt.Fprintln(w)
	ui.Paragraph(w, a.text.Precedence)
}

func commandTerms(commands []*cli.Command) (terms []ui.Definition) {
	for _, command := range commands {
		terms = append(terms, ui.Definition{Term: command.Name, Text: command.Usage})
	}
	return terms
}

// WriteHelp prints the help of the command that the words name, and the overview if there are
// no words.
func (a *App) WriteHelp(w io.Writer, words []string) error {
	command, names := a.find(words)
	name, count := strings.Join(names, " "), len(names)
	switch {
	case len(words) == 0:
		a.WriteOverview(w)
		return nil
	case count == 0:
		return a.UnknownCommand(words[0])
	case count < len(words) && len(command.Verbs) > 0:
		return &UsageError{Command: name, Problem: unknownCommand(name, words[count], command.Verbs)}
	case count < len(words):
		return &UsageError{Command: "help", Problem: fmt.Sprintf("unexpected argument %q", words[count])}
	}
	writeHelp(w, name, command)
	return nil
}

// writeHelp prints the help of one command.
func writeHelp(w io.Writer, name string, command Command) {
	ui.Paragraph(w, "Usage: "+synopsis(name, command))
	fmt.Fprintln(w)
	ui.Paragraph(w, sentence(command.Usage))
	for line := range strings.Lines(command.Description) {
		switch line = strings.TrimRight(line, "\n"); {
		case line == "Examples:":
			fmt.Fprintf(w, "\n%s\n", line)
		case strings.HasPrefix(line, " "): // an example to paste
			fmt.Fprintln(w, line)
		case line != "":
			ui.Paragraph(w, line)
		}
	}
	sections := flagSections(command.Command)
	if len(command.Verbs) > 0 {
		sections = slices.Insert(sections, 0, section{"Commands", commandTerms(command.Subcommands)})
	}
	var all []ui.Definition
	for _, one := range sections {
		all = append(all, one.terms...)
	}
	for _, one := range sections {
		fmt.Fprintf(w, "\n%s\n", one.title)
		ui.Definitions(w, one.terms, all)
	}
}

// synopsis returns the form of a command's command line. name is the command's whole name.
func synopsis(name string, command Command) string {
	if len(command.Verbs) > 0 {
		return program + " " + name + " COMMAND [flags]"
	}
	return strings.TrimSpace(program + " " + name + " [flags] " + command.ArgsUsage)
}

func sentence(text string) string {
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// section is a part of a command's help.
type section struct {
	title string
	terms []ui.Definition
}

// flagSections groups a command's flags by category. Flags without a category come first.
func flagSections(command *cli.Command) []section {
	byTitle := map[string][]ui.Definition{}
	titles := []string{"Flags"}
	for _, flag := range command.VisibleFlags() {
		title := "Flags"
		if sorted, ok := flag.(cli.CategorizableFlag); ok && sorted.GetCategory() != "" {
			title = sorted.GetCategory()
		}
		if !slices.Contains(titles, title) {
			titles = append(titles, title)
		}
		byTitle[title] = append(byTitle[title], FlagDefinition(flag))
	}
	slices.Sort(titles[1:])
	var sections []section
	for _, title := range titles {
		if len(byTitle[title]) > 0 {
			sections = append(sections, section{title, byTitle[title]})
		}
	}
	return sections
}

// FlagDefinition describes a flag as help and the man page show it.
func FlagDefinition(flag cli.Flag) ui.Definition {
	var long, short []string
	for _, name := range flag.Names() {
		if len([]rune(name)) == 1 {
			short = append(short, "-"+name)
		} else {
			long = append(long, "--"+name)
		}
	}
	one := ui.Definition{Term: strings.Join(append(short, long...), ", ")}
	documented, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return one
	}
	one.Text = strings.ReplaceAll(documented.GetUsage(), "`", "")
	if documented.TakesValue() {
		one.Term += " " + placeholder(flag)
		if preset := strings.Trim(documented.GetDefaultText(), `"`); preset != "" && preset != "0" && preset != "0s" {
			one.Text += " (default: " + preset + ")"
		}
	}
	if variables := documented.GetEnvVars(); len(variables) > 0 {
		one.Text += " [$" + strings.Join(variables, ", $") + "]"
	}
	return one
}

// placeholder returns the word between backquotes in a flag's usage, which names its value.
func placeholder(flag cli.Flag) string {
	if documented, ok := flag.(cli.DocGenerationFlag); ok {
		if parts := strings.Split(documented.GetUsage(), "`"); len(parts) == 3 {
			return parts[1]
		}
	}
	return "VALUE"
}
