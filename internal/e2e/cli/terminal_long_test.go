//go:build linux && long

package cli

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// All commands of a day in a window of 40 columns, and without color.
func TestFleetOnANarrowTerminal(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "plain")
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")

	code, raw := e2e.InWindow(t, 40, e2e.Up(name, "--count", "2", "--progress", "auto")...)
	screen := e2e.ShownLines(40, raw)
	ready := 0
	for _, line := range screen {
		if strings.HasPrefix(line, "✔ "+name) && strings.Contains(line, "daemon") {
			ready++
		}
		if strings.ContainsAny(line, "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") {
			t.Errorf("left over: %q", line)
		}
	}
	if code != 0 || ready != 2 || !strings.ContainsAny(raw, "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") {
		t.Errorf("exit code %d, want 0; %d lines of runners that are ready, want 2, and a spinner\n%s", code, ready, strings.Join(screen, "\n"))
	}
	for _, args := range [][]string{{"ps", "--fleet", name}, {"version"}, {"doctor"}, {"down", "--fleet", name, "--dry-run"}} {
		code, raw := e2e.InWindow(t, 40, args...)
		if code != 0 || strings.Contains(raw, "\x1b") {
			t.Errorf("%v: exit code %d, want 0: %q\nwant no %q", args, code, raw, "\x1b")
		}
	}
	_, raw = e2e.InWindow(t, 40, "ps", "--fleet", name)
	if screen := e2e.ShownLines(40, raw); len(screen) < 10 || screen[0] != e2e.List(t, name)[0].Name || !strings.HasPrefix(screen[2], "  STATE") {
		t.Errorf("ps shows\n%s\nwant a paragraph a runner", strings.Join(screen, "\n"))
	}

	runner := e2e.List(t, name)[0].Name
	_, raw = e2e.InWindow(t, 40, "inspect", runner)
	for line := range strings.Lines(raw) {
		line = strings.TrimRight(line, "\r\n")
		words := strings.Fields(line)
		if len([]rune(line)) > 40 && len(words[len(words)-1]) <= 25 { // a longer word can't be broken
			t.Errorf("inspect: %q, want 40 columns at most", line)
		}
	}

	if code, raw := e2e.InWindow(t, 80, e2e.Up(name, "--count", "3")...); code != 0 || strings.ContainsAny(raw, "\x1b⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") {
		t.Errorf("up --progress plain: exit code %d, want 0; %q, want neither colours nor a spinner", code, raw)
	}

	// Output to a pipe is as wide as needed and plain; live lines appear only when they end.
	code, stdout, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--count", "4")...)
	if code != 0 || strings.ContainsAny(stdout+stderr, "\x1b\r⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") || !strings.Contains(stderr, "✔ "+name) {
		t.Errorf("exit code %d, want 0; stderr %q, want a plain %q", code, stderr, "✔ "+name)
	}
	code, _, stderr = e2e.Runnerctl(t.Context(), "down", "--fleet", name, "--color", "always")
	if code != 0 || !strings.Contains(stderr, "\x1b[32m✔\x1b[0m "+name) {
		t.Errorf("exit code %d, want 0; stderr %q, want %q", code, stderr, "\x1b[32m✔\x1b[0m "+name)
	}
}
