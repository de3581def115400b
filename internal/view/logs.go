package view

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// LogStyle is the form of log lines.
type LogStyle struct {
	JSON       bool // else text
	Timestamps bool
	Theme      ui.Theme
}

// Log returns a function that prints log lines of these runners, and that several goroutines may
// call.
func Log(w io.Writer, runners []string, style LogStyle) func(fleet.LogLine) {
	show := textLines(w, runners, style)
	if style.JSON {
		encoder := jsonLines(w)
		show = func(line fleet.LogLine) { _ = encoder.Encode(line) } // a closed pipe ends the program
	}
	var mu sync.Mutex
	return func(line fleet.LogLine) {
		mu.Lock()
		defer mu.Unlock()
		show(line)
	}
}

// textLines starts each line with its runner's name, in a color of its own.
func textLines(w io.Writer, runners []string, style LogStyle) func(fleet.LogLine) {
	width := 0
	for _, name := range runners {
		width = max(width, len(name))
	}
	prefixes := map[string]string{}
	for i, name := range runners {
		prefixes[name] = style.Theme.Pick(i, fmt.Sprintf("%-*s", width, name))
	}
	return func(line fleet.LogLine) {
		stamp := ""
		if style.Timestamps {
			stamp = style.Theme.Dim(line.Time.Format("2006-01-02T15:04:05.000Z")) + "  "
		}
		fmt.Fprintf(w, "%s  %s  %s%s\n", prefixes[line.Runner], style.Theme.Dim(fmt.Sprintf("%-10s", line.Source)), stamp, ui.Plain(line.Text))
	}
}

// jsonLines returns an encoder that writes each value as one line.
func jsonLines(w io.Writer) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}
