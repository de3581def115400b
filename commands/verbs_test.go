package commands_test

import (
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
)

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"10m": "2026-01-01T11:50:00Z", "2026-01-01T11:00:00Z": "2026-01-01T11:00:00Z"} {
		if got, err := commands.ParseSince(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"-10m", "yesterday", "10"} {
		if _, err := commands.ParseSince(text, now); err == nil {
			t.Errorf("%s: no error, want one", text)
		}
	}
}
