package cmdline

import (
	"fmt"
	"io"
	"strings"
)

// Roff escapes text for roff: hyphens stay hyphens, so that flags can be copied, and no text
// becomes a request.
func Roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "–", `\(en`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// WriteMan prints the man page: everything that --help shows for every command.
func (a *App) WriteMan(w io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line(`.TH RUNNERCTL 1 "" "runnerctl %s" "User Commands"`, Roff(a.text.Version))
	line(".SH NAME\nrunnerctl \\- %s", Roff(a.Usage))
	line(".SH SYNOPSIS\n.B runnerctl\nCOMMAND [flags]")
	line(".SH OPTIONS")
	for _, flag := range a.Flags {
		one := FlagDefinition(flag)
		line(".TP\n.B %s\n%s", Roff(one.Term), Roff(one.Text))
	}
	line(".SH DESCRIPTION\n%s", Roff(a.text.Precedence))
	line("Standard output is data; progress, hints and errors go to standard error.")
	for _, group := range a.grouped() {
		line(".SH %s", Roff(strings.ToUpper(group.title)))
		for _, command := range group.commands {
			whole, _ := named(a.commands, command.Name)
			writeManCommand(line, command.Name, whole)
		}
	}
	line(".SH FILES")
	for _, file := range a.text.Files {
		line(".TP\n.I %s\n%s", file[0], file[1])
	}
	line(".SH EXIT STATUS")
	for _, status := range a.text.Exit {
		line(".TP\n.B %s\n%s", status[0], status[1])
	}
	line(".PP\n%s", a.text.ExitNote)
}

// writeManCommand prints the section of a command, and those of its verbs. name is the command's
// whole name.
func writeManCommand(line func(string, ...any), name string, command Command) {
	line(".SS %s", Roff(synopsis(name, command)))
	line("%s", Roff(sentence(command.Usage)))
	writeManText(line, command.Description)
	for _, section := range flagSections(command.Command) {
		for _, flag := range section.terms {
			line(".TP\n.B %s\n%s", Roff(flag.Term), Roff(flag.Text))
		}
	}
	for _, verb := range command.Verbs {
		writeManCommand(line, name+" "+verb.Name, verb)
	}
}

func writeManText(line func(string, ...any), text string) {
	examples := false
	for one := range strings.Lines(text) {
		one = strings.TrimRight(one, "\n")
		switch {
		case strings.HasPrefix(one, "   "):
			if !examples {
				line(".PP\n.nf")
				examples = true
			}
			line("%s", Roff(one))
		case one != "" && one != "Examples:":
			line(".PP\n%s", Roff(one))
		}
	}
	if examples {
		line(".fi")
	}
}
