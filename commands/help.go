package commands

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/internal/ui"
)

// groups order the commands by what an operator does. A command that is named
// nowhere is in the last.
var groups = []struct {
	title    string
	commands []string
}{
	{"Prepare", []string{"init", "doctor", "build", "host"}},
	{"Run", []string{"up", "down", "ps", "run", "supervise"}},
	{"Look inside", []string{"logs", "exec", "cp", "inspect", "events"}},
	{"Clean up", []string{"prune"}},
	{"More", []string{"demo", "version", "completion", "help"}},
}

func helpCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show help, of all or of one command",
		ArgsUsage: "[COMMAND]",
		Description: "Examples:\n" +
			"   runnerctl help\n" +
			"   runnerctl help up",
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			if c.NArg() > 1 {
				return &usageError{command: "help", problem: fmt.Sprintf("unexpected argument %q", c.Args().Get(1))}
			}
			if name == "" {
				writeOverview(d.streams.Out, c.App)
				return nil
			}
			command := c.App.Command(name)
			if command == nil {
				return unknownCommand(c.App, name)
			}
			writeHelp(d.streams.Out, command)
			return nil
		},
	}
}

// helpFirst makes `help COMMAND` of a command line that asks for help anywhere:
// nothing else of it counts.
func helpFirst(app *cli.App, args []string) []string {
	asks := func(word string) bool { return word == "--help" || word == "-help" || word == "-h" }
	for i, word := range args[min(1, len(args)):] {
		if asks(word) {
			return append([]string{args[0], "help"}, firstWord(args[i+2:])...)
		}
		if !strings.HasPrefix(word, "-") {
			break
		}
	}
	flags, _, _ := takeApart(app, args)
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

// grouped are the commands that help shows.
func grouped(app *cli.App) []commandGroup {
	var out []commandGroup
	seen := map[string]bool{}
	for i, group := range groups {
		one := commandGroup{title: group.title}
		for _, name := range group.commands {
			if command := app.Command(name); command != nil && !command.Hidden {
				one.commands = append(one.commands, command)
				seen[name] = true
			}
		}
		for _, command := range app.Commands {
			if i == len(groups)-1 && !command.Hidden && !seen[command.Name] {
				one.commands = append(one.commands, command)
			}
		}
		if len(one.commands) > 0 {
			out = append(out, one)
		}
	}
	return out
}

const precedence = "Settings: flags over environment (RUNNERCTL_…) over runnerctl.yaml over defaults."

func writeOverview(w io.Writer, app *cli.App) {
	ui.Paragraph(w, "runnerctl: "+app.Usage)
	fmt.Fprint(w, "\nUsage: runnerctl COMMAND [flags]\n")
	var flags []ui.Definition
	for _, flag := range app.Flags {
		flags = append(flags, flagDefinition(flag))
	}
	all := flags
	sections := grouped(app)
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
	ui.Paragraph(w, precedence)
}

func commandTerms(commands []*cli.Command) (terms []ui.Definition) {
	for _, command := range commands {
		terms = append(terms, ui.Definition{Term: command.Name, Text: command.Usage})
	}
	return terms
}

// writeHelp prints one command's page.
func writeHelp(w io.Writer, command *cli.Command) {
	ui.Paragraph(w, "Usage: "+synopsis(command))
	fmt.Fprintln(w)
	ui.Paragraph(w, sentence(command.Usage))
	for line := range strings.Lines(command.Description) {
		switch line = strings.TrimRight(line, "\n"); {
		case line == "Examples:":
			fmt.Fprintf(w, "\n%s\n", line)
		case strings.HasPrefix(line, " "): // to be pasted
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
	return strings.TrimSpace("runnerctl " + command.Name + " [flags] " + command.ArgsUsage)
}

func sentence(text string) string {
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

type flagSection struct {
	title string
	flags []ui.Definition
}

// flagSections are a command's flags by their categories; those without one
// come first.
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
		byTitle[title] = append(byTitle[title], flagDefinition(flag))
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

// flagDefinition is a flag as help and the man page show it.
func flagDefinition(flag cli.Flag) ui.Definition {
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

// placeholder is the word between backquotes in a flag's usage, what its value is.
func placeholder(flag cli.Flag) string {
	if documented, ok := flag.(cli.DocGenerationFlag); ok {
		if parts := strings.Split(documented.GetUsage(), "`"); len(parts) == 3 {
			return parts[1]
		}
	}
	return "VALUE"
}
