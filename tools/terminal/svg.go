package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"strconv"
	"strings"
	"unicode/utf8"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// theme has a terminal's colors, and those of its window.
type theme struct {
	foreground, background string
	bar, border, title     string
	shadow                 float64 // its opacity
	palette                [16]string
}

// The colors are those of GitHub's pages.
var (
	light = theme{
		foreground: "#1f2328", background: "#ffffff", bar: "#f6f8fa", border: "#d1d9e0", title: "#59636e", shadow: 0.12,
		palette: [16]string{
			"#24292f", "#cf222e", "#1a7f37", "#9a6700", "#0969da", "#8250df", "#1b7c83", "#6e7781",
			"#57606a", "#a40e26", "#2da44e", "#bf8700", "#218bff", "#a475f9", "#3192aa", "#8c959f",
		},
	}
	dark = theme{
		foreground: "#e6edf3", background: "#0d1117", bar: "#161b22", border: "#30363d", title: "#9198a1", shadow: 0.6,
		palette: [16]string{
			"#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4",
			"#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
		},
	}
)

// Lengths, in pixels.
const (
	cellWidth  = 8.4 // the width in most monospace fonts of 14 pixels
	lineHeight = 20
	baseline   = 14 // of a line, below its top
	fontSize   = 14
	margin     = 24 // around the window, for its shadow
	padding    = 18 // between the window and the text
	barHeight  = 36
)

// svg draws the screen in a window, as high as there is text. All text is at places of its own
// and of the cells' length, since the reader's font may be narrower or wider than the cells.
func (s screen) svg(title string, colors theme) []byte {
	lines := s.lines()
	windowWidth, windowHeight := float64(s.Width())*cellWidth+2*padding, float64(barHeight+2*padding+len(lines)*lineHeight)
	var out bytes.Buffer
	say := func(format string, arguments ...any) { fmt.Fprintf(&out, format+"\n", arguments...) }

	width, height := number(windowWidth+2*margin), number(windowHeight+2*margin)
	say(`<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %[1]s %[2]s" role="img" aria-labelledby="title" aria-describedby="text">`, width, height)
	say(`<title id="title">%s</title>`, escaped(title))
	say(`<desc id="text">%s</desc>`, escaped(s.text()))
	say(`<defs><filter id="shadow" x="-10%%" y="-10%%" width="120%%" height="125%%" color-interpolation-filters="sRGB"><feDropShadow dx="0" dy="6" stdDeviation="8" flood-color="#000" flood-opacity="%s"/></filter></defs>`, number(colors.shadow))
	say(`<rect x="%d" y="%[1]d" width="%s" height="%s" rx="10" fill="%s" filter="url(#shadow)"/>`, margin, number(windowWidth), number(windowHeight), colors.background)
	say(`<path d="M%d %d v-%d a10 10 0 0 1 10 -10 h%s a10 10 0 0 1 10 10 v%[3]d z" fill="%[5]s"/>`, margin, margin+barHeight, barHeight-10, number(windowWidth-20), colors.bar)
	say(`<path d="M%d %d.5 h%s" stroke="%s"/>`, margin, margin+barHeight, number(windowWidth), colors.border)
	say(`<rect x="%d.5" y="%[1]d.5" width="%s" height="%s" rx="9.5" fill="none" stroke="%s"/>`, margin, number(windowWidth-1), number(windowHeight-1), colors.border)
	for i, dot := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		say(`<circle cx="%d" cy="%d" r="6" fill="%s"/>`, margin+20+20*i, margin+barHeight/2, dot)
	}
	say(`<text x="50%%" y="%d" text-anchor="middle" font-family="-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif" font-size="13" fill="%s">%s</text>`, margin+barHeight/2+5, colors.title, escaped(title))
	say(`<g font-family="ui-monospace, SFMono-Regular, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace" font-size="%d" fill="%s">`, fontSize, colors.foreground)
	for row, line := range lines {
		top := margin + barHeight + padding + row*lineHeight
		for _, one := range fills(line, colors) {
			say(`<rect x="%s" y="%d" width="%s" height="%d" fill="%s"/>`, left(one.column), top, number(float64(one.width)*cellWidth), lineHeight, one.color)
		}
		for _, one := range words(line) {
			length := ""
			if utf8.RuneCountInString(one.text) > 1 {
				length = ` textLength="` + number(float64(one.width)*cellWidth) + `"`
			}
			say(`<text x="%s" y="%d"%s%s>%s</text>`, left(one.column), top+baseline, length, colors.attributes(one.style), escaped(one.text))
		}
	}
	say(`</g>`)
	say(`</svg>`)
	return out.Bytes()
}

// word is text of one style in a line. Single blanks are in it, since more than one would be
// shown as one.
type word struct {
	column, width int // in cells
	text          string
	style         uv.Style
}

func words(line uv.Line) (all []word) {
	for column, cell := range line {
		if strings.TrimSpace(cell.Content) == "" {
			continue
		}
		if len(all) > 0 {
			last := &all[len(all)-1]
			gap := column - last.column - last.width
			// A wide character stands alone: it takes two cells in few fonts only.
			if gap <= 1 && cell.Style.Equal(&last.style) && cell.Width == 1 && line[last.column].Width == 1 {
				last.text += strings.Repeat(" ", gap) + cell.Content
				last.width += gap + 1
				continue
			}
		}
		all = append(all, word{column, cell.Width, cell.Content, cell.Style})
	}
	return all
}

// fill is a part of a line with one background.
type fill struct {
	column, width int // in cells
	color         string
}

func fills(line uv.Line, colors theme) (all []fill) {
	for column, cell := range line {
		_, background := colors.of(cell.Style)
		if background == colors.background {
			continue
		}
		if len(all) > 0 {
			last := &all[len(all)-1]
			if last.column+last.width == column && last.color == background {
				last.width++
				continue
			}
		}
		all = append(all, fill{column, 1, background})
	}
	return all
}

// attributes returns how a style differs from plain text.
func (t theme) attributes(style uv.Style) (attributes string) {
	if foreground, _ := t.of(style); foreground != t.foreground {
		attributes += ` fill="` + foreground + `"`
	}
	if style.Attrs&uv.AttrBold != 0 {
		attributes += ` font-weight="bold"`
	}
	if style.Attrs&uv.AttrItalic != 0 {
		attributes += ` font-style="italic"`
	}
	if style.Underline != uv.UnderlineNone {
		attributes += ` text-decoration="underline"`
	}
	return attributes
}

// of returns a style's two colors.
func (t theme) of(style uv.Style) (foreground, background string) {
	foreground, background = t.color(style.Fg, t.foreground), t.color(style.Bg, t.background)
	if style.Attrs&uv.AttrReverse != 0 {
		foreground, background = background, foreground
	}
	if style.Attrs&uv.AttrFaint != 0 {
		foreground = mixed(foreground, background)
	}
	return foreground, background
}

// color returns a cell's color as SVG has it. The first 16 are the theme's own.
func (t theme) color(of color.Color, otherwise string) string {
	switch of := of.(type) {
	case nil:
		return otherwise
	case ansi.BasicColor:
		return t.palette[of]
	case ansi.IndexedColor:
		if int(of) < len(t.palette) {
			return t.palette[of]
		}
	}
	red, green, blue, _ := of.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", red>>8, green>>8, blue>>8)
}

// mixed returns two thirds of one color and a third of another: still easy to read.
func mixed(most, least string) string {
	mix := "#"
	for i := 1; i < len(most); i += 2 {
		one, _ := strconv.ParseUint(most[i:i+2], 16, 8)
		other, _ := strconv.ParseUint(least[i:i+2], 16, 8)
		mix += fmt.Sprintf("%02x", (2*one+other)/3)
	}
	return mix
}

func left(column int) string { return number(margin + padding + float64(column)*cellWidth) }

// number writes a length with as few digits as it needs.
func number(n float64) string {
	return strings.TrimSuffix(strings.TrimSuffix(strconv.FormatFloat(n, 'f', 2, 64), "0"), ".0")
}

func escaped(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		bare := strings.TrimSuffix(line, "\n")
		_ = xml.EscapeText(&out, []byte(bare))
		out.WriteString(line[len(bare):]) // EscapeText would write it as a number
	}
	return out.String()
}
