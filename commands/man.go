package commands

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

func manCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:   "man",
		Usage:  "print the man page (roff)",
		Hidden: true,
		Description: "Examples:\n" +
			"   runnerctl man | man -l -\n" +
			"   runnerctl man > runnerctl.1",
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			writeMan(d.streams.Out, c.App)
			return nil
		},
	}
}

// roff keeps what is special to it as plain text: hyphens stay hyphens, so that
// flags can be copied, and no text becomes a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "–", `\(en`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// writeMan prints the man page: all that --help says, of every command.
func writeMan(w io.Writer, app *cli.App) {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line(`.TH RUNNERCTL 1 "" "runnerctl %s" "User Commands"`, roff(Version))
	line(".SH NAME\nrunnerctl \\- %s", roff(app.Usage))
	line(".SH SYNOPSIS\n.B runnerctl\nCOMMAND [flags]")
	line(".SH OPTIONS")
	for _, flag := range app.Flags {
		one := flagDefinition(flag)
		line(".TP\n.B %s\n%s", roff(one.Term), roff(one.Text))
	}
	line(".SH DESCRIPTION\n%s", roff(precedence))
	line("Standard output is data; progress, hints and errors go to standard error.")
	for _, group := range grouped(app) {
		line(".SH %s", roff(strings.ToUpper(group.title)))
		for _, command := range group.commands {
			line(".SS %s", roff(synopsis(command)))
			line("%s", roff(sentence(command.Usage)))
			writeManText(line, command.Description)
			for _, section := range flagSections(command) {
				for _, flag := range section.flags {
					line(".TP\n.B %s\n%s", roff(flag.Term), roff(flag.Text))
				}
			}
		}
	}
	line(".SH FILES\n.TP\n.I runnerctl.yaml\nThe fleet's settings, in the working folder; none is needed.")
	line(".SH EXIT STATUS")
	for _, status := range []struct{ code, meaning string }{
		{"0", "done"}, {"1", "failed"}, {"2", "wrong usage or settings"}, {"4", "refused by GitHub for who asks"}, {"130", "interrupted"},
	} {
		line(".TP\n.B %s\n%s", status.code, status.meaning)
	}
	line(".PP\nexec and run pass on the exit code of their command.")
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
			line("%s", roff(one))
		case one != "" && one != "Examples:":
			line(".PP\n%s", roff(one))
		}
	}
	if examples {
		line(".fi")
	}
}
