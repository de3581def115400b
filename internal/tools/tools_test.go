package tools

import "testing"

func TestKnown(t *testing.T) {
	for text, want := range map[string]bool{
		"node@22": true, "go@1.24": true, "python@3.12.1": true,
		"node": false, "node@": false, "node@latest": false, "ruby@3": false, "node@22;reboot": false, "@22": false,
	} {
		if got := Known(text); got != want {
			t.Errorf("%s: got %t, want %t", text, got, want)
		}
	}
}
