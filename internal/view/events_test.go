package view

import (
	"bytes"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func event(second int, text string) fleet.Event {
	return fleet.Event{Time: time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC), Fleet: "ci", Kind: fleet.RemovedEvent, Text: text}
}

func TestEvents(t *testing.T) {
	began := event(0, "began: 3 wanted")
	began.Kind = fleet.SupervisorEvent
	failed := event(1, "its agent ended \x1b[31mbadly")
	failed.Kind, failed.Runner, failed.Took, failed.Last = fleet.FailedEvent, "ci-7k2p", 1.25, []string{"agent: ended\x07 with code 1"}
	var text, lines bytes.Buffer
	Events(&text, ui.NewTheme("never", false, func(string) string { return "" }))([]fleet.Event{began, failed})
	if want := "2026-01-02T03:04:00Z  supervisor  began: 3 wanted\n" +
		"2026-01-02T03:04:01Z  failed      ci-7k2p  its agent ended badly  1.2s\n    agent: ended with code 1\n"; text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
	EventsJSON(&lines)([]fleet.Event{began, failed})
	if want := `{"time":"2026-01-02T03:04:00Z","fleet":"ci","kind":"supervisor","text":"began: 3 wanted"}` + "\n" +
		`{"time":"2026-01-02T03:04:01Z","fleet":"ci","kind":"failed","runner":"ci-7k2p","text":"its agent ended \u001b[31mbadly","took_seconds":1.25,"last":["agent: ended\u0007 with code 1"]}` + "\n"; lines.String() != want {
		t.Errorf("got\n%swant\n%s", lines.String(), want)
	}
}
