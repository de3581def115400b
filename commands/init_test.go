//go:build linux

package commands

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// The wizard on a real terminal: a wrong answer is asked again, Enter takes
// the default.
func TestInitAsksOnATerminal(t *testing.T) {
	t.Chdir(t.TempDir())
	var screen bytes.Buffer
	console, err := expect.NewConsole(expect.WithDefaultTimeout(10*time.Second), expect.WithStdout(&screen))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = console.Close() }()
	tty := console.Tty()
	streams := ui.System(tty, tty, tty)
	if !streams.InTTY || !streams.ErrTTY {
		t.Fatal("a pty is no terminal")
	}
	ended := make(chan int, 1)
	go func() {
		ended <- Run(context.Background(), streams, os.Getenv, ui.NewPrompter(tty, tty), []string{"runnerctl", "init", "--cpus", "1.5"})
	}()
	for _, step := range []struct{ question, answer string }{
		{"GitHub URL", "https://github.com/acme/api"},
		{"Base image", ""},
		{"How many runners", "many"},
		{"is no whole number", "\x15\x7f\x7f\x7f\x7f4"},
		{"Memory of each", "8g"},
	} {
		if _, err := console.ExpectString(step.question); err != nil {
			t.Fatalf("%s: %v\n%s", step.question, err, screen.String())
		}
		if _, err := console.SendLine(step.answer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := console.ExpectString("wrote runnerctl.yaml"); err != nil {
		t.Fatalf("%v\n%s", err, screen.String())
	}
	if code := <-ended; code != 0 {
		t.Fatalf("code %d", code)
	}
	got, err := config.Load(config.DefaultFile)
	if err != nil {
		t.Fatal(err)
	}
	if got.Target != "https://github.com/acme/api" || got.Runners.Count != 4 || got.Runners.CPUs != 1.5 || got.Runners.Memory != 8<<30 || got.Image.Base != "debian:trixie-slim" {
		t.Errorf("%+v", got)
	}
}

func TestInitInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	console, err := expect.NewConsole(expect.WithDefaultTimeout(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = console.Close() }()
	tty := console.Tty()
	ended := make(chan int, 1)
	go func() {
		ended <- Run(context.Background(), ui.System(tty, tty, tty), os.Getenv, ui.NewPrompter(tty, tty), []string{"runnerctl", "init"})
	}()
	if _, err := console.ExpectString("GitHub URL"); err != nil {
		t.Fatal(err)
	}
	if _, err := console.Send("\x03"); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != exitInterrupted {
		t.Errorf("code %d", code)
	}
	if _, err := os.Stat(config.DefaultFile); !strings.Contains(err.Error(), "no such file") {
		t.Error("a file was written")
	}
}
