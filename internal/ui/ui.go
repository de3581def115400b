// Package ui is runnerctl's interface to people: streams, colors, tables, live lines, prompts
// and errors.
package ui

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fatih/color"
	"github.com/moby/term"

	"github.com/runnerctl/runnerctl/internal/hint"
)

// Streams are the process's own streams, and whether each is a terminal.
type Streams struct {
	In                    io.Reader
	Out, Err              io.Writer
	InTTY, OutTTY, ErrTTY bool
}

// System wraps the process's streams.
func System(in, out, errs *os.File) Streams {
	return Streams{In: in, Out: out, Err: errs, InTTY: term.IsTerminal(in.Fd()), OutTTY: term.IsTerminal(out.Fd()), ErrTTY: term.IsTerminal(errs.Fd())}
}

// ColorMode is auto, always or never.
type ColorMode string

// ParseColorMode reads the value of --color.
func ParseColorMode(text string) (ColorMode, error) {
	switch text {
	case "": // from an empty variable
		return "auto", nil
	case "auto", "always", "never":
		return ColorMode(text), nil
	}
	return "", fmt.Errorf("--color %q: expected auto, always or never", text)
}

// Theme colors text for one stream. fatih/color by itself checks stdout only.
type Theme struct {
	ok, fail, warn, dim, bold *color.Color
	palette                   []*color.Color
}

// NewTheme decides whether a stream gets color.
func NewTheme(mode ColorMode, tty bool, env func(string) string) Theme {
	on := mode == "always" || mode == "auto" && tty && env("NO_COLOR") == "" && env("TERM") != "dumb"
	instance := func(attributes ...color.Attribute) *color.Color {
		c := color.New(attributes...)
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return c
	}
	theme := Theme{ok: instance(color.FgGreen), fail: instance(color.FgRed), warn: instance(color.FgYellow), dim: instance(color.Faint), bold: instance(color.Bold)}
	// No red: nothing has failed.
	for _, foreground := range []color.Attribute{color.FgCyan, color.FgYellow, color.FgGreen, color.FgMagenta, color.FgBlue, color.FgHiCyan, color.FgHiYellow, color.FgHiGreen, color.FgHiMagenta, color.FgHiBlue} {
		theme.palette = append(theme.palette, instance(foreground))
	}
	return theme
}

// OK colors a success.
func (t Theme) OK(s string) string { return t.ok.Sprint(s) }

// Fail colors a failure.
func (t Theme) Fail(s string) string { return t.fail.Sprint(s) }

// Warn colors a warning.
func (t Theme) Warn(s string) string { return t.warn.Sprint(s) }

// Dim colors secondary text.
func (t Theme) Dim(s string) string { return t.dim.Sprint(s) }

// Bold marks headings.
func (t Theme) Bold(s string) string { return t.bold.Sprint(s) }

// Pick colors text with the i-th color of a small palette, to show which texts belong
// together.
func (t Theme) Pick(i int, s string) string { return t.palette[i%len(t.palette)].Sprint(s) }

// Check is the mark of success.
func (t Theme) Check() string { return t.OK("✔") }

// Cross is the mark of failure.
func (t Theme) Cross() string { return t.Fail("✘") }

// Plain makes text from other sources safe to show. It removes colors, cursor movements and
// other control characters. Tabs become blanks.
func Plain(s string) string {
	s = sequence.ReplaceAllString(s, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, s)
}

// sequence is a terminal's control sequence (CSI) or a command to it (OSC).
var sequence = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?`)

var ansi = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func width(s string) int { return utf8.RuneCountInString(ansi.ReplaceAllString(s, "")) }

// Table prints aligned columns, two spaces apart, without blanks at line ends. On a terminal
// that is too narrow, each row becomes a block headed by its first cell.
func Table(w io.Writer, header []string, rows [][]string) {
	widths := make([]int, len(header))
	all := append([][]string{header}, rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], width(cell))
		}
	}
	total := -2
	for _, one := range widths {
		total += one + 2
	}
	if columns := Columns(w); columns > 0 && total > columns {
		blocks(w, header, rows)
		return
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-width(cell)+2))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

func blocks(w io.Writer, header []string, rows [][]string) {
	widest := 0
	for _, name := range header[1:] {
		widest = max(widest, width(name))
	}
	for _, row := range rows {
		fmt.Fprintln(w, row[0])
		for i, cell := range row[1:] {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-*s  %s", widest, header[i+1], cell), " "))
		}
	}
}

// Error prints an error with its cause, last lines and hint.
func Error(w io.Writer, theme Theme, err error) {
	fmt.Fprintf(w, "%s %s\n", theme.Fail("error:"), err)
	if cause := hint.Cause(err); cause != "" {
		fmt.Fprintf(w, "  %s  %s\n", theme.Dim("cause"), cause)
	}
	for _, line := range hint.Last(err) {
		fmt.Fprintf(w, "  %s   %s\n", theme.Dim("last"), line)
	}
	if text := hint.Of(err); text != "" {
		fmt.Fprintf(w, "  %s   %s\n", theme.Dim("hint"), text)
	}
}

// Duration formats d in the largest unit that is precise enough: 0.9s, 42s, 4m, 2h, 3d.
func Duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Bytes formats n in binary units: 58MiB, 1.2GiB.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + units[unit]
}
