//go:build long

package commands

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// host prepare by ssh does what it told, shows doctor's report of that machine, and has
// nothing to do again.
func TestHostIsPrepared(t *testing.T) {
	t.Chdir(t.TempDir())
	m := enginetest.StartMachine(t)
	m.StartEngine(t)
	m.Must(t, "chmod 0600 /dev/net/tun")
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: m})
	prepare := []string{"host", "prepare", host.Address, "--yes"}
	code, stdout, stderr := runnerctl(t.Context(), prepare...)
	if code != 0 || !strings.Contains(stderr, "will set fs.inotify.max_user_instances to 8192") || !strings.Contains(stderr, "       set fs.inotify.max_user_instances to 8192") || !strings.Contains(stdout, "✔ engine.reachable     "+host.Address) {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	if after := m.Must(t, state); !strings.Contains(after, "/dev/net/tun 666") || !strings.Contains(after, "fs.inotify.max_user_instances = 8192") || !strings.Contains(after, "-d 169.254.169.254/32 -j REJECT") {
		t.Errorf("after that:\n%s", after)
	}
	if code, _, stderr := runnerctl(t.Context(), prepare...); code != 0 || !strings.Contains(stderr, " is prepared already\n") || strings.Contains(stderr, "will ") {
		t.Errorf("again: code %d: %s", code, stderr)
	}
}
