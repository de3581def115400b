package view

import (
	"fmt"
	"io"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Events returns a function that prints a line of text for each event, and the last log lines of
// a runner that failed.
func Events(w io.Writer, theme ui.Theme) func([]fleet.Event) {
	return func(events []fleet.Event) {
		for _, event := range events {
			fmt.Fprintf(w, "%s  %s\n", theme.Dim(event.Time.Format("2006-01-02T15:04:05Z")), ui.Plain(event.String()))
			for _, line := range event.Last {
				fmt.Fprintf(w, "    %s\n", theme.Dim(ui.Plain(line)))
			}
		}
	}
}

// EventsJSON returns a function that prints each event as a line of JSON.
func EventsJSON(w io.Writer) func([]fleet.Event) {
	encoder := jsonLines(w)
	return func(events []fleet.Event) {
		for _, event := range events {
			_ = encoder.Encode(event) // a closed pipe ends the program
		}
	}
}
