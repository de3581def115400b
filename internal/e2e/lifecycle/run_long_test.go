//go:build linux && long

package lifecycle

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// A busy throw-away runner does not affect other commands: up, down and ps of its fleet don't
// count it, prune and down --all leave it. Ctrl-C removes it.
func TestRunNextToItsFleet(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	ctx, cancel := context.WithCancelCause(t.Context())
	code := make(chan int, 1)
	go func() {
		got, _, _ := e2e.Runnerctl(ctx, throwAway(name, "--", "sh", "-c", "touch begun; sleep 600")...)
		code <- got
	}()
	var runner string
	e2e.Eventually(t, time.Minute, "the command runs", func() bool {
		if found := throwAways(t, api, name, "run"); len(found) == 1 {
			runner = found[0]
			got, _, _ := e2e.Runnerctl(t.Context(), "exec", runner, "--", "test", "-e", "begun")
			return got == 0
		}
		return false
	})
	e2e.Must(t, e2e.Up(name)...)
	if runners := e2e.List(t, name); len(runners) != 1 || runners[0].Name == runner {
		t.Errorf("runners: %+v, want one other than %s", runners, runner)
	}
	if all := e2e.Must(t, "ps", "--all", "-q"); !slices.Contains(strings.Fields(all), runner) {
		t.Errorf("ps --all does not show %s: %s", runner, all)
	}
	e2e.Must(t, "down", "--fleet", name)
	for _, args := range []string{"prune --dry-run", "down --all --dry-run"} {
		if _, plan, _ := e2e.Runnerctl(t.Context(), strings.Fields(args)...); strings.Contains(plan, runner) { // code 1 if there is a fleet of another GitHub
			t.Errorf("%s:\n%s\nwant nothing of %s", args, plan, runner)
		}
	}
	cancel(commands.ErrInterrupted)
	if got := <-code; got != commands.ExitInterrupted {
		t.Errorf("exit code %d, want %d", got, commands.ExitInterrupted)
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
