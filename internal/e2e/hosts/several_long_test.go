//go:build linux && long

package hosts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// When a host dies in the middle of up, the other host has its runners, and the next up
// neither doubles nor loses any.
func TestHostDiesInUp(t *testing.T) {
	engines := hostEngines(t, hostLine{"one", ", count: 1", true}, hostLine{"two", ", count: 2", true})
	done := make(chan string)
	go func() {
		code, _, stderr := e2e.Runnerctl(context.Background(), "up", "--progress", "quiet")
		done <- fmt.Sprint(code, stderr)
	}()
	for runnersOn(t, engines["two"].API) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	engines["two"].Kill()
	said := <-done
	if !strings.HasPrefix(said, "1") || !strings.Contains(said, "one  1 runner ready") {
		t.Errorf("up: %s, want %q at the beginning, and %q", said, "1", "one  1 runner ready")
	}
	engines["two"].Run(t)
	e2e.Must(t, "up", "--progress", "quiet")
	if a, b := runnersOn(t, engines["one"].API), runnersOn(t, engines["two"].API); a != 1 || b != 2 {
		t.Errorf("runners: %d, %d, want 1 and 2", a, b)
	}
}

// A disk that is too small for the image is reported as such, and the other host has its
// runner.
func TestFullHost(t *testing.T) {
	engines := hostEngines(t, hostLine{name: "one", filled: true}, hostLine{name: "two"})
	empty := engines["two"].Fill(t, 100)
	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "host two: image runnerctl/runner:") || !strings.Contains(stderr, "no space left") || !strings.Contains(stderr, "one  1 runner ready") {
		t.Errorf("up: exit code %d, want %d; stderr:\n%s\nwant %q, %q and %q", code, commands.ExitFailure, stderr, "host two: image runnerctl/runner:", "no space left", "one  1 runner ready")
	}
	empty()
	e2e.Must(t, "up", "--progress", "quiet")
	if b := runnersOn(t, engines["two"].API); b != 1 {
		t.Errorf("%d runners, want 1", b)
	}
}
