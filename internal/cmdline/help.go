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
			return append([]string{args[0], "help"}, firstWord(args[i+2:])...)
		}
		if !strings.HasPrefix(word, "-") {
			break
		}
	}
	flags, _, _ := a.takeApart(args)
	if slices.ContainsFunc(flags, asks) {
		return []string{args[0], "help", args[1]}
	}
	return args
}

func firstWord(args []string) []string {
	for _, word := range args {
		if !strings.HasPrefix(word, "-") {
			return []string{word}
		}
	}
	return nil
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
	sections := a.grouped()
	for _, section := range sections {
		all = append(all, commandTerms(section.commands)...)
	}
	for _, section := range sections {
		fmt.Fprintf(w, "\n%s\n", section.title)
		ui.Definitions(w, commandTerms(section.commands), all)
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

// WriteHelp prints the help of one command.
func WriteHelp(w io.Writer, command *cli.Command) {
	ui.Paragraph(w, "Usage: "+synopsis(command))
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
	var all []ui.Definition
	sections := flagSections(command)
	for _, section := range sections {
		all = append(all, section.flags...)
	}
	for _, section := range sections {
		fmt.Fprintf(w, "\n%s\n", section.title)
		ui.Definitions(w, section.flags, all)
	}
}

func synopsis(command *cli.Command) string {
	return strings.TrimSpace(program + " " + command.Name + " [flags] " + command.ArgsUsage)
}

func sentence(text string) string {
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

type flagSection struct {
	title string
	flags []ui.Definition
}

// flagSections groups a command's flags by category. Flags without a category come first.
func flagSections(command *cli.Command) []flagSection {
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
	var sections []flagSection
	for _, title := range titles {
		if len(byTitle[title]) > 0 {
			sections = append(sections, flagSection{title, byTitle[title]})
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
