//go:build linux

package cli

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// runLimit is the time for a run on a busy machine.
const runLimit = time.Minute

// On a terminal, run gives its command a terminal inside the machine: it has the window's
// size, passes typed input on, and returns the command's exit code.
func TestRunOnATerminal(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	command := e2e.Process(t, "run", "--fleet", name, "--progress", "plain", "--", "sh", "-c", "tty; stty size; read word; echo got $word; exit 7")
	window, err := pty.StartWithSize(command, &pty.Winsize{Rows: 33, Cols: 101})
	if err != nil {
		t.Fatal(err)
	}
	defer window.Close()
	late := time.AfterFunc(runLimit, func() { _ = command.Process.Signal(os.Interrupt) })
	defer late.Stop()
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
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
