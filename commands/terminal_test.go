//go:build linux

package commands_test

import (
	"cmp"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestColour(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, test := range []struct {
		env    map[string]string
		flags  string
		colour bool
	}{
		{nil, "", true},
		{map[string]string{"NO_COLOR": "1"}, "", false},
		{map[string]string{"TERM": "dumb"}, "", false},
		{nil, "--color never", false},
		{map[string]string{"RUNNERCTL_COLOR": "never"}, "", false},
		{map[string]string{"RUNNERCTL_COLOR": "never"}, "--color auto", true},
		{map[string]string{"NO_COLOR": "1"}, "--color always", true},
		{map[string]string{"TERM": "dumb"}, "--color=always", true},
	} {
		t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
		for key, preset := range map[string]string{"TERM": "xterm", "NO_COLOR": "", "RUNNERCTL_COLOR": ""} {
			t.Setenv(key, cmp.Or(test.env[key], preset))
		}
		for _, line := range []string{"ps", "ps --nosuch", "doctor", "up"} { // an error, wrong usage, data, progress
			args := append(strings.Fields(line), strings.Fields(test.flags)...)
			_, raw := e2e.InWindow(t, 80, args...)
			if strings.Contains(raw, "\x1b[") != test.colour {
				t.Errorf("%v with %v: colour %v wanted: %q", args, test.env, test.colour, raw)
			}
		}
	}
}

// On a terminal that can't move its cursor, runnerctl never asks or redraws.
func TestDumbTerminal(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TERM", "dumb")
	for _, command := range []string{"init", "prune"} {
		code, raw := e2e.InWindow(t, 80, strings.Fields(command)...)
		if code != commands.ExitUsage || !strings.Contains(raw, "no terminal for") || strings.Contains(raw, "\x1b") {
			t.Errorf("%s: exit code %d, want %d: %q\nwant %q, but not %q", command, code, commands.ExitUsage, raw, "no terminal for", "\x1b")
		}
	}
}

// In a narrow window, only lines of help to be pasted are longer than the window.
func TestHelpOnANarrowTerminal(t *testing.T) {
	lines := [][]string{{}}
	for _, command := range visible(t) {
		lines = append(lines, command.words("--help"))
	}
	for _, args := range lines {
		_, raw := e2e.InWindow(t, 40, args...)
		for line := range strings.Lines(raw) {
			line = strings.TrimRight(line, "\r\n")
			if len([]rune(line)) > 40 && !strings.HasPrefix(line, "   runnerctl ") && !strings.HasPrefix(line, "   source ") {
				t.Errorf("%v: %q, want 40 columns at most", args, line)
			}
		}
	}
}
