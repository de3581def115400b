package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// rows are more than a picture should have.
const rows = 60

// screen is the content of a terminal.
type screen struct{ *vt.Emulator }

func newScreen(columns int) screen {
	emulator := vt.NewEmulator(columns, rows)
	// A program's question to the terminal would wait for somebody to read the answer.
	go func() { _, _ = io.Copy(io.Discard, emulator) }()
	return screen{emulator}
}

// run shows a prompt with a command of a shell, and the command's output.
func (s screen) run(ctx context.Context, command string) error {
	if s.lines() != nil {
		fmt.Fprint(s, "\r\n")
	}
	fmt.Fprintf(s, "\x1b[2m$\x1b[0m \x1b[1m%s\x1b[0m\r\n", command)
	before := s.text()
	err := s.attach(ctx, command)
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
	case s.ScrollbackLen() > 0:
		err = fmt.Errorf("more than the %d lines of a picture", rows)
	case s.text() == before:
		err = fmt.Errorf("no output")
	}
	if err != nil {
		return fmt.Errorf("%s: %w; the terminal shows\n%s", command, err, s.text())
	}
	fmt.Fprint(s, "\x1b[0m")
	if s.CursorPosition().X > 0 {
		fmt.Fprint(s, "\r\n")
	}
	return nil
}

// attach runs a command of a shell with the screen as its terminal.
func (s screen) attach(ctx context.Context, command string) error {
	process := exec.CommandContext(ctx, "sh", "-c", command)
	process.Env = append(os.Environ(), "TERM=xterm-256color")
	process.Cancel = func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGKILL) }
	terminal, err := pty.StartWithSize(process, &pty.Winsize{Cols: uint16(s.Width()), Rows: uint16(s.Height())})
	if err != nil {
		return err
	}
	defer terminal.Close()
	_, _ = io.Copy(s, terminal) // ends with an error, EIO, when the command has ended
	return process.Wait()
}

// lines returns the lines down to the last one with text.
func (s screen) lines() (lines []uv.Line) {
	blank := 0
	for y := range s.Height() {
		line := make(uv.Line, s.Width())
		for x := range line {
			line[x] = *s.CellAt(x, y)
		}
		if strings.TrimSpace(line.String()) == "" {
			blank++
			continue
		}
		lines = append(append(lines, make([]uv.Line, blank)...), line)
		blank = 0
	}
	return lines
}

// text returns the lines without their styles.
func (s screen) text() string {
	var text []string
	for _, line := range s.lines() {
		text = append(text, strings.TrimRight(line.String(), " "))
	}
	return strings.Join(text, "\n")
}
