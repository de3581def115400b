//go:build linux

package e2e

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"
	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// OnTerminal runs a command line on a terminal and returns a person at it, with the screen.
// survey asks the terminal for its cursor position, so a bare pty is not enough: vt10x
// answers.
func OnTerminal(t *testing.T, args ...string) (person *expect.Console, seen *Screen, ended chan int) {
	t.Helper()
	answers, emulated, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	seen = new(Screen)
	person, err = expect.NewConsole(expect.WithDefaultTimeout(10*time.Second), expect.WithStdin(answers),
		expect.WithStdout(vt10x.New(vt10x.WithWriter(emulated)), seen), expect.WithCloser(answers, emulated))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	tty := person.Tty()
	s := session.Session{Streams: ui.System(tty, tty, tty), Env: os.Getenv, Prompt: ui.NewPrompter(tty, tty), GOOS: "linux"}
	if !s.Streams.InTTY || !s.Streams.ErrTTY {
		t.Fatal("a pty is no terminal")
	}
	ended = make(chan int, 1)
	go func() { ended <- commands.Run(context.Background(), s, append([]string{"runnerctl"}, args...)) }()
	return person, seen, ended
}

// Screen keeps everything that was ever shown.
type Screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps text that is shown.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String returns all the text so far.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// AwaitExit waits until the command line of OnTerminal ends and returns its exit code.
func AwaitExit(t *testing.T, ended chan int, seen *Screen) int {
	t.Helper()
	select {
	case code := <-ended:
		return code
	case <-time.After(20 * time.Second):
		t.Fatalf("init did not end\n%s", seen)
		return 0
	}
}

// InWindow runs a command line in a window with the given number of columns.
func InWindow(t *testing.T, columns int, args ...string) (code int, raw string) {
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
	code = commands.Run(t.Context(), s, append([]string{"runnerctl"}, args...))
	_ = window.Close()
	return code, <-text
}

// ShownLines returns the lines that the window shows in the end.
func ShownLines(columns int, raw string) (lines []string) {
	emulator := vt10x.New(vt10x.WithSize(columns, 50))
	_, _ = emulator.Write([]byte(raw))
	for line := range strings.Lines(strings.TrimRight(emulator.String(), " \n")) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return lines
}
