//go:build linux

package commands

import (
	"cmp"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// inWindow runs a command line in a window with the given number of columns.
func inWindow(t *testing.T, columns int, args ...string) (code int, raw string) {
	t.Helper()
	outside, window, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if err := pty.Setsize(window, &pty.Winsize{Cols: uint16(columns), Rows: 50}); err != nil {
		t.Fatal(err)
	}
	text := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(outside) // ends with EIO when the window is closed
		text <- string(all)
	}()
	s := session.Session{Streams: ui.System(window, window, window), Prompt: ui.NewPrompter(window, window), GOOS: "linux", Env: os.Getenv}
	code = run(t.Context(), s, append([]string{"runnerctl"}, args...))
	_ = window.Close()
	return code, <-text
}

// shown returns the lines that the window shows in the end.
func shown(columns int, raw string) (lines []string) {
	emulator := vt10x.New(vt10x.WithSize(columns, 50))
	_, _ = emulator.Write([]byte(raw))
	for line := range strings.Lines(strings.TrimRight(emulator.String(), " \n")) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}

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
			_, raw := inWindow(t, 80, args...)
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
		code, raw := inWindow(t, 80, strings.Fields(command)...)
		if code != exitUsage || !strings.Contains(raw, "no terminal for") || strings.Contains(raw, "\x1b") {
			t.Errorf("%s: exit code %d, want %d: %q\nwant %q, but not %q", command, code, exitUsage, raw, "no terminal for", "\x1b")
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
		_, raw := inWindow(t, 40, args...)
		for line := range strings.Lines(raw) {
			line = strings.TrimRight(line, "\r\n")
			if len([]rune(line)) > 40 && !strings.HasPrefix(line, "   runnerctl ") && !strings.HasPrefix(line, "   source ") {
				t.Errorf("%v: %q, want 40 columns at most", args, line)
			}
		}
	}
}

// All commands of a day in a window of 40 columns, and without color.
func TestFleetOnANarrowTerminal(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, "build", "--bootstrap-base", "--progress", "plain")
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")

	code, raw := inWindow(t, 40, up(name, "--count", "2", "--progress", "auto")...)
	screen := shown(40, raw)
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
		code, raw := inWindow(t, 40, args...)
		if code != 0 || strings.Contains(raw, "\x1b") {
			t.Errorf("%v: exit code %d, want 0: %q\nwant no %q", args, code, raw, "\x1b")
		}
	}
	_, raw = inWindow(t, 40, "ps", "--fleet", name)
	if screen := shown(40, raw); len(screen) < 10 || screen[0] != list(t, name)[0].Name || !strings.HasPrefix(screen[2], "  STATE") {
		t.Errorf("ps shows\n%s\nwant a paragraph a runner", strings.Join(screen, "\n"))
	}

	runner := list(t, name)[0].Name
	_, raw = inWindow(t, 40, "inspect", runner)
	for line := range strings.Lines(raw) {
		line = strings.TrimRight(line, "\r\n")
		words := strings.Fields(line)
		if len([]rune(line)) > 40 && len(words[len(words)-1]) <= 25 { // a longer word can't be broken
			t.Errorf("inspect: %q, want 40 columns at most", line)
		}
	}

	if code, raw := inWindow(t, 80, up(name, "--count", "3")...); code != 0 || strings.ContainsAny(raw, "\x1b⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") {
		t.Errorf("up --progress plain: exit code %d, want 0; %q, want neither colours nor a spinner", code, raw)
	}

	// Output to a pipe is as wide as needed and plain; live lines appear only when they end.
	code, stdout, stderr := runnerctl(t.Context(), up(name, "--count", "4")...)
	if code != 0 || strings.ContainsAny(stdout+stderr, "\x1b\r⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") || !strings.Contains(stderr, "✔ "+name) {
		t.Errorf("exit code %d, want 0; stderr %q, want a plain %q", code, stderr, "✔ "+name)
	}
	code, _, stderr = runnerctl(t.Context(), "down", "--fleet", name, "--color", "always")
	if code != 0 || !strings.Contains(stderr, "\x1b[32m✔\x1b[0m "+name) {
		t.Errorf("exit code %d, want 0; stderr %q, want %q", code, stderr, "\x1b[32m✔\x1b[0m "+name)
	}
}

// On a terminal, run gives its command a terminal inside the machine: it has the window's
// size, passes typed input on, and returns the command's exit code.
func TestRunOnATerminal(t *testing.T) {
	api := realEngine(t)
	runnerImage(t)
	name := newFleet(t, api)
	command := runnerctlProcess(t, "run", "--fleet", name, "--progress", "plain", "--", "sh", "-c", "tty; stty size; read word; echo got $word; exit 7")
	window, err := pty.StartWithSize(command, &pty.Winsize{Rows: 33, Cols: 101})
	if err != nil {
		t.Fatal(err)
	}
	defer window.Close()
	t.Cleanup(func() { _ = command.Process.Kill() }) // in case it hangs
	var said strings.Builder
	typed := false
	for buffer := make([]byte, 4096); ; {
		n, err := window.Read(buffer)
		said.Write(buffer[:n])
		if err != nil { // EIO: the program has ended
			break
		}
		if !typed && strings.Contains(said.String(), "33 101") {
			typed = true
			if _, err := window.WriteString("hello\r"); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 7 || !strings.Contains(said.String(), "/dev/pts/0\r\n") || !strings.Contains(said.String(), "got hello\r\n") {
		t.Errorf("exit code %d, want 7; %q, want %q and %q", code, said.String(), "/dev/pts/0\r\n", "got hello\r\n")
	}
	if strings.ContainsAny(said.String(), "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") || strings.Contains(said.String(), "\x1b[J") {
		t.Errorf("plain progress: %q, want neither a spinner nor a cleared screen", said.String())
	}
	if left := leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
