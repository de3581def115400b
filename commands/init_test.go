//go:build linux

package commands_test

import (
	"os"
	"strings"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// wizard runs `init` on a terminal.
func wizard(t *testing.T, args ...string) (person *expect.Console, seen *e2e.Screen, ended chan int) {
	t.Helper()
	return e2e.OnTerminal(t, append([]string{"init"}, args...)...)
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
		{"Disk space for the host's cache, for example 50GiB", "20g"},
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
	if code := e2e.AwaitExit(t, ended, seen); code != 0 {
		t.Fatalf("exit code %d, want 0\n%s", code, seen)
	}
	got, err := config.Load(config.DefaultFile)
	if err != nil {
		t.Fatal(err)
	}
	if got.Target != "https://github.com/acme/api" || got.Runners.Count != 4 || got.Runners.CPUs != 1.5 || got.Runners.Memory != 8<<30 || got.Cache.Size != 20<<30 || got.Image.Base != "debian:trixie-slim" {
		t.Errorf("got %+v, want https://github.com/acme/api, 4 runners of 1.5 CPUs and 8 GiB, a cache of 20 GiB, on debian:trixie-slim", got)
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
	if code := e2e.AwaitExit(t, ended, seen); code != commands.ExitInterrupted {
		t.Errorf("exit code %d, want %d", code, commands.ExitInterrupted)
	}
	if _, err := os.Stat(config.DefaultFile); !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%s: %v, want no such file", config.DefaultFile, err)
	}
}
