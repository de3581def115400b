package ui

import (
	"fmt"
	"io"
	"strings"

	"github.com/moby/term"
)

// Narrow is the width below which text and columns are stacked.
const Narrow = 60

// size returns the current size of the terminal behind w; 0, 0 if w is none.
func size(w io.Writer) (columns, rows int) {
	file, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(file.Fd()) {
		return 0, 0
	}
	found, err := term.GetWinsize(file.Fd())
	if err != nil {
		return 0, 0
	}
	return int(found.Width), int(found.Height)
}

// Columns returns how many characters fit on a line of w; 0 means any number.
func Columns(w io.Writer) int {
	columns, _ := size(w)
	return columns
}

// Wrap breaks text at blanks into lines of at most columns. A longer word gets a line of its
// own. With 0 columns, nothing is broken.
func Wrap(text string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case columns > 0 && width(line)+1+width(word) > columns:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// readable limits lines of prose on wide terminals and in files.
const readable = 100

// Paragraph prints text in lines of a readable length.
func Paragraph(w io.Writer, text string) {
	for _, line := range Wrap(text, lineLength(w)) {
		fmt.Fprintln(w, line)
	}
}

func lineLength(w io.Writer) int {
	if columns := Columns(w); columns > 0 && columns < readable {
		return columns
	}
	return readable
}

// Folded prints lines. On a narrow terminal, lines that do not fit continue below, indented.
func Folded(w io.Writer, lines string) {
	columns := Columns(w)
	if columns == 0 || columns >= Narrow {
		fmt.Fprint(w, lines)
		return
	}
	const indent = "  "
	for line := range strings.Lines(lines) {
		fmt.Fprintln(w, strings.Join(Wrap(line, columns-len(indent)), "\n"+indent))
	}
}

// Definition is a term and its meaning.
type Definition struct{ Term, Text string }

// Definitions prints two columns, or each text below its term if the columns do not fit. all
// holds every definition of the page, so that its sections align.
func Definitions(w io.Writer, section, all []Definition) {
	const indent = "  "
	columns, widest := lineLength(w), 0
	for _, one := range all {
		widest = max(widest, width(one.Term))
	}
	left := len(indent) + widest + 2
	if columns < Narrow {
		left = 2 * len(indent)
	}
	for _, one := range section {
		lines := Wrap(one.Text, columns-left)
		if columns < Narrow {
			fmt.Fprintln(w, indent+one.Term)
		} else {
			fmt.Fprintf(w, "%s%s%s%s\n", indent, one.Term, strings.Repeat(" ", widest-width(one.Term)+2), lines[0])
			lines = lines[1:]
		}
		for _, line := range lines {
			fmt.Fprintln(w, strings.Repeat(" ", left)+line)
		}
	}
}

// cut shortens text to columns. The text must have no color.
func cut(text string, columns int) string {
	runes := []rune(text)
	if columns <= 0 || len(runes) <= columns {
		return text
	}
	return string(runes[:columns-1]) + "…"
}

// Plural returns the ending of a noun after a count.
func Plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
