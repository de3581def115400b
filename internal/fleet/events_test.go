package fleet

import (
	"bytes"
	"log/slog"
	"testing"
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
