//go:build linux

package ui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// openWindow makes a terminal of a size, and returns its final screen.
func openWindow(t *testing.T, columns, rows int) (window *os.File, seen func() (screen, raw string)) {
	t.Helper()
	outside, window, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	resize(t, window, columns, rows)
	text := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(outside) // ends with EIO when the window is closed
		text <- string(all)
	}()
	return window, func() (string, string) {
		_ = window.Close()
		raw := <-text
		_ = outside.Close()
		emulator := vt10x.New(vt10x.WithSize(columns, rows))
		_, _ = emulator.Write([]byte(raw))
		var lines []string
		for line := range strings.Lines(emulator.String()) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		return strings.TrimRight(strings.Join(lines, "\n"), "\n"), raw
	}
}

func resize(t *testing.T, window *os.File, columns, rows int) {
	t.Helper()
	if err := pty.Setsize(window, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		t.Fatal(err)
	}
}

var plain = NewTheme("never", true, func(string) string { return "" })

// Lines longer than the window are cut, so that each drawing erases the last.
func TestLiveOnANarrowTerminal(t *testing.T) {
	window, seen := openWindow(t, 40, 24)
	live := NewLive(window, true, plain)
	for i := range 5 {
		for _, name := range []string{"ci-7k2p", "ci-9xqd", strings.Repeat("long", 12)} {
			live.Set(name, fmt.Sprintf("step %d: %s", i, strings.Repeat("waiting for the inner daemon ", 3)))
		}
	}
	time.Sleep(250 * time.Millisecond) // the spinner draws by itself
	live.Done("ci-7k2p", "daemon 26.1.5")
	live.Fail("ci-9xqd", "ended")
	live.Close()
	screen, raw := seen()
	if want := "✔ ci-7k2p   daemon 26.1.5\n✘ ci-9xqd   ended"; screen != want {
		t.Errorf("the screen shows\n%s\nwant\n%s", screen, want)
	}
	if !strings.Contains(raw, "ci-9xqd   step 4: waiting for the in…") {
		t.Errorf("got %q, want %q", raw, "ci-9xqd   step 4: waiting for the in…")
	}
}

// The window's size counts as it is when a line is drawn.
func TestLiveFollowsTheWindow(t *testing.T) {
	window, seen := openWindow(t, 80, 10)
	live := NewLive(window, true, plain)
	live.Set("a", strings.Repeat("x", 100))
	resize(t, window, 20, 10)
	live.Set("b", strings.Repeat("y", 100))
	live.Close()
	_, raw := seen()
	if !strings.Contains(raw, strings.Repeat("x", 60)) {
		t.Errorf("nothing wide was drawn at first: %q, want 60 columns", raw)
	}
	_, after, found := strings.Cut(raw, "b   y")
	if !found || strings.Contains(after, strings.Repeat("x", 20)) || strings.Contains(after, strings.Repeat("y", 20)) {
		t.Errorf("after the window shrank: %q, want 20 columns at most", after)
	}
}

func TestLiveWithMoreLinesThanTheWindow(t *testing.T) {
	window, seen := openWindow(t, 40, 10)
	live := NewLive(window, true, plain)
	for i := range 30 {
		live.Set(fmt.Sprintf("ci-%02d", i), "starting")
	}
	for i := range 28 {
		live.Done(fmt.Sprintf("ci-%02d", i), "ready")
	}
	time.Sleep(150 * time.Millisecond)
	live.Close()
	screen, raw := seen()
	if !strings.Contains(raw, "and 22 more") {
		t.Errorf("got %q, want %q", raw, "and 22 more")
	}
	lines := strings.Split(screen, "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("✔ ci-%02d   ready", 28-len(lines)+i); line != want {
			t.Errorf("line %d shows %q, want %q\n%s", i, line, want, screen)
		}
	}
}

func TestTableOnTerminals(t *testing.T) {
	header, rows := []string{"NAME", "STATE", "IMAGE"}, [][]string{{"ci-7k2p", "ready", "runnerctl/runner:4f2a91c"}, {"ci-9xqd", "busy", ""}}
	for columns, want := range map[int]string{
		80: "NAME     STATE  IMAGE\nci-7k2p  ready  runnerctl/runner:4f2a91c\nci-9xqd  busy",
		40: "NAME     STATE  IMAGE\nci-7k2p  ready  runnerctl/runner:4f2a91c\nci-9xqd  busy",
		39: "ci-7k2p\n  STATE  ready\n  IMAGE  runnerctl/runner:4f2a91c\nci-9xqd\n  STATE  busy\n  IMAGE",
	} {
		window, seen := openWindow(t, columns, 24)
		Table(window, header, rows)
		if screen, _ := seen(); screen != want {
			t.Errorf("%d columns show\n%s\nwant\n%s", columns, screen, want)
		}
	}
	// Without a terminal, nothing is cut or broken.
	var text strings.Builder
	Table(&text, header, [][]string{{strings.Repeat("n", 300), "s", "i"}})
	if strings.Count(text.String(), "\n") != 2 {
		t.Errorf("got %q, want 2 lines", text.String())
	}
}
