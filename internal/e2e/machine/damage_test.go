//go:build linux

package machine

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// damages are done by a job as root. A damage may end the command that does it.
var damages = []struct{ name, script string }{
	{"files", "sudo rm -rf /usr/lib/runnerctl /usr/bin/perl /bin/bash"},
	{"processes", "sudo sh -c 'kill -9 -1'"},
	{"socket", "sudo mv /run/docker.sock /run/x"},
	{"run", "sudo umount -l /run"},
	{"all", "sudo sh -c 'rm -rf /usr/lib/runnerctl /usr/bin/perl /bin/bash; mv /run/docker.sock /run/x; umount -l /run; kill -9 -1'"},
}

// The commands of an operator work after every damage, whether the daemon has run or not.
func TestCommandsAfterDamage(t *testing.T) {
	for _, start := range []string{"on-demand", "eager"} {
		if start == "eager" && !e2e.Thorough {
			continue
		}
		t.Run(start, func(t *testing.T) {
			name := e2e.NewFleet(t, e2e.Engine(t))
			e2e.WriteFile(t, "runnerctl.yaml", "docker: {start: "+start+"}\n")
			e2e.Must(t, e2e.Up(name, "--prove", "--count", strconv.Itoa(len(damages)))...)
			for i, one := range e2e.List(t, name) {
				damage := damages[i]
				t.Run(damage.name, func(t *testing.T) {
					e2e.Must(t, "exec", one.Name, "--", "sh", "-c", "echo kept >~/kept")
					e2e.Runnerctl(t.Context(), "exec", one.Name, "--", "sh", "-c", damage.script)
					commandsWork(t, name, one.Name)
				})
			}
			begun := time.Now()
			e2e.Must(t, "down", "--fleet", name)
			if took := time.Since(begun); took > 40*time.Second {
				t.Errorf("down took %s, want at most 40s", took)
			}
		})
	}
}

// commandsWork runs each command of an operator for one runner.
func commandsWork(t *testing.T, fleet, runner string) {
	t.Helper()
	for _, one := range e2e.List(t, fleet) {
		if one.Name == runner && !one.Ready && one.Problem == "" {
			t.Errorf("ps: %+v, want a ready runner or a problem", one)
		}
	}
	if got := e2e.Must(t, "exec", runner, "--", "cat", "kept"); got != "kept\n" {
		t.Errorf("exec: %q, want %q", got, "kept\n")
	}
	copied := t.TempDir() + "/kept"
	e2e.Must(t, "cp", runner+":kept", copied)
	if got := e2e.ReadFile(copied); got != "kept\n" {
		t.Errorf("cp: %q, want %q", got, "kept\n")
	}
	if log := e2e.Must(t, "logs", runner); !strings.Contains(log, runner) {
		t.Errorf("logs:\n%s\nwant lines of %s", log, runner)
	}
	// A program that is gone is named in one line.
	if code, _, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "/usr/bin/gone"); code != commands.ExitFailure && code != 127 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "/usr/bin/gone") {
		t.Errorf("a program that is gone: exit code %d, stderr:\n%s", code, stderr)
	}
}
