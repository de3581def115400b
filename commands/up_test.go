package commands_test

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestUpsOfWhatCantBeSupervised(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, want := range map[string]string{
		"up --attach": "--attach: this fleet has no supervisor",
		"up --attach --target https://github.com/acme/api --no-supervisor":   "--attach: this fleet has no supervisor",
		"up --attach --target https://github.com/acme/api --ephemeral=false": "--attach: this fleet has no supervisor",
		"up --no-supervisor=false": "one in the background needs a target",
		"up --target https://github.com/acme/api --metrics-address 0.0.0.0:80": "expected a loopback address",
	} {
		if code, _, stderr := e2e.Runnerctl(t.Context(), strings.Fields(args)...); code != commands.ExitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, want %d; stderr:\n%s\nwant %q", args, code, commands.ExitUsage, stderr, want)
		}
	}
}

// An empty variable does not mean "no".
func TestEmptyBooleans(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, args := range map[string]string{"RUNNERCTL_NO_SUPERVISOR": "up", "RUNNERCTL_EPHEMERAL": "supervise", "RUNNERCTL_BOOTSTRAP_BASE": "build"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "")
			if code, _, stderr := e2e.Runnerctl(t.Context(), args); code != commands.ExitUsage || !strings.Contains(stderr, "$"+name+" is empty: expected true or false") {
				t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitUsage, stderr, "$"+name+" is empty: expected true or false")
			}
		})
	}
}
