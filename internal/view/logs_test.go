package view

import (
	"bytes"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestLog(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	lines := []fleet.LogLine{
		{Time: at, Runner: "ci-7k2p", Source: "dockerd", Text: "\x1b[31mred\x1b[0m"},
		{Time: at, Runner: "ci-long-m3ta", Source: "agent", Text: "a < b"},
	}
	plain := ui.NewTheme("never", false, func(string) string { return "" })
	for name, test := range map[string]struct {
		style LogStyle
		want  string
	}{
		"text":       {LogStyle{Theme: plain}, "ci-7k2p       dockerd     red\nci-long-m3ta  agent       a < b\n"},
		"timestamps": {LogStyle{Theme: plain, Timestamps: true}, "ci-7k2p       dockerd     2026-01-02T03:04:05.006Z  red\nci-long-m3ta  agent       2026-01-02T03:04:05.006Z  a < b\n"},
		"JSON": {LogStyle{Theme: plain, JSON: true}, `{"time":"2026-01-02T03:04:05.006Z","runner":"ci-7k2p","source":"dockerd","text":"\u001b[31mred\u001b[0m"}` + "\n" +
			`{"time":"2026-01-02T03:04:05.006Z","runner":"ci-long-m3ta","source":"agent","text":"a < b"}` + "\n"},
	} {
		var out bytes.Buffer
		show := Log(&out, []string{"ci-7k2p", "ci-long-m3ta"}, test.style)
		for _, line := range lines {
			show(line)
		}
		if out.String() != test.want {
			t.Errorf("%s: got\n%swant\n%s", name, out.String(), test.want)
		}
	}
}
