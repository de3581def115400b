//go:build linux

package commands

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"
	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// wizard runs `init` on a terminal.
func wizard(t *testing.T, args ...string) (person *expect.Console, seen *screen, ended chan int) {
	t.Helper()
	return onTerminal(t, append([]string{"init"}, args...)...)
}

// onTerminal runs a command line on a terminal and returns a person at it, with the screen.
// survey asks the terminal for its cursor position, so a bare pty is not enough: vt10x
// answers.
func onTerminal(t *testing.T, args ...string) (person *expect.Console, seen *screen, ended chan int) {
	t.Helper()
	answers, emulated, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	seen = new(screen)
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
	go func() { ended <- run(context.Background(), s, append([]string{"runnerctl"}, args...)) }()
	return person, seen, ended
}

// screen keeps everything that was ever shown.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func code(t *testing.T, ended chan int, seen *screen) int {
	t.Helper()
	select {
	case code := <-ended:
		return code
	case <-time.After(20 * time.Second):
		t.Fatalf("init did not end\n%s", seen)
		return 0
	}
}

// On a real terminal, the wizard asks again after a wrong answer, and Enter accepts the
// default.
func TestInitAsksOnATerminal(t *testing.T) {
	t.Chdir(t.TempDir())
	person, seen, ended := wizard(t, "--cpus", "1.5")
	for _, step := range []struct{ question, answer string }{
		{"GitHub URL", "https://github.com/acme/api"},
		{"Base image", ""},
		{"Number of runners", "many"},
		{"is not a whole number", "\x15\x7f\x7f\x7f\x7f4"},
		{"Memory per runner", "8g"},
	} {
		if _, err := person.ExpectString(step.question); err != nil {
			t.Fatalf("%s: %v\n%s", step.question, err, seen)
		}
		if _, err := person.SendLine(step.answer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := person.ExpectString("wrote runnerctl.yaml"); err != nil {
		t.Fatalf("%v\n%s", err, seen)
	}
	if code := code(t, ended, seen); code != 0 {
		t.Fatalf("exit code %d, want 0\n%s", code, seen)
	}
	got, err := config.Load(config.DefaultFile)
	if err != nil {
		t.Fatal(err)
	}
	if got.Target != "https://github.com/acme/api" || got.Runners.Count != 4 || got.Runners.CPUs != 1.5 || got.Runners.Memory != 8<<30 || got.Image.Base != "debian:trixie-slim" {
		t.Errorf("got %+v, want https://github.com/acme/api, 4 runners of 1.5 CPUs and 8 GiB, on debian:trixie-slim", got)
	}
}

func TestInitInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	person, seen, ended := wizard(t)
	if _, err := person.ExpectString("GitHub URL"); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = person.ExpectEOF() }() // the terminal answers only while it is read
	// survey shows the question a moment before it reads single keys.
	go func() {
		for range 20 {
			_, _ = person.Send("\x03")
			time.Sleep(100 * time.Millisecond)
		}
	}()
	if code := code(t, ended, seen); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if _, err := os.Stat(config.DefaultFile); !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%s: %v, want no such file", config.DefaultFile, err)
	}
}
