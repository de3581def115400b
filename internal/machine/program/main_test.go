//go:build linux

package main

import "testing"

func TestCommandLines(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, test := range []struct {
		name      string
		arguments []string
		code      int
	}{
		{"exec", []string{"true"}, 125}, // no machine
		{"exec", []string{"--interrupt", "ABC"}, 1},
		{"exec", []string{"--interrupt"}, 2},
		{"status", nil, 0},
		{"machine", []string{"unknown"}, 2},
		{"machine", []string{"cleaner"}, 2},
		{"machine", []string{"try-nothing"}, 0},
	} {
		if code := run(test.name, test.arguments); code != test.code {
			t.Errorf("%s %v: code %d, want %d", test.name, test.arguments, code, test.code)
		}
	}
	t.Setenv("RUNNERCTL_EXEC", "../x")
	if code := run("exec", []string{"true"}); code != 2 {
		t.Errorf("an id that is none: code %d, want 2", code)
	}
}
