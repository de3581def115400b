package fleet

import (
	"bytes"
	"log/slog"
	"testing"
	"time"
)

func TestEventLines(t *testing.T) {
	failed := Event{Fleet: "ci", Kind: FailedEvent, Runner: "ci-2222", Text: "create (1 of 2): no room", Took: 1.25, Last: []string{"dockerd: no space left"}}
	began := Event{Fleet: "ci", Kind: SupervisorEvent, Text: "began: 2 wanted"}
	for want, event := range map[string]Event{
		"failed      ci-2222  create (1 of 2): no room  1.2s": failed,
		"supervisor  began: 2 wanted":                         began,
	} {
		if got := event.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, attribute slog.Attr) slog.Attr {
		if attribute.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return attribute
	}}))
	failed.Log(logger)
	began.Log(logger)
	want := `level=WARN msg="create (1 of 2): no room" fleet=ci event=failed runner=ci-2222 took_seconds=1.25 last="[dockerd: no space left]"` + "\n" +
		`level=INFO msg="began: 2 wanted" fleet=ci event=supervisor` + "\n"
	if out.String() != want {
		t.Errorf("%s, want %s", out.String(), want)
	}
}

func event(second int, text string) Event {
	return Event{Time: time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC), Fleet: "ci", Kind: RemovedEvent, Text: text}
}

// Following continues after the last event seen, or prints all events if that one is gone.
func TestEventsAfter(t *testing.T) {
	a, b, c := event(1, "a"), event(1, "b"), event(2, "c")
	for _, test := range []struct {
		seen, now []Event
		want      int
	}{
		{nil, []Event{a, b}, 2},
		{[]Event{a}, []Event{a, b, c}, 2},
		{[]Event{a, b}, []Event{a, b}, 0},
		{[]Event{a}, []Event{b, c}, 2},
		{[]Event{a}, nil, 0},
	} {
		if got := EventsAfter(test.seen, test.now); len(got) != test.want {
			t.Errorf("%v after %v: %v", test.now, test.seen, got)
		}
	}
}
