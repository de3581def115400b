//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/selftest"
)

// EscapeArchive is an archive of the attempts to escape, below the folder escape.
func EscapeArchive(t *testing.T) io.Reader {
	t.Helper()
	var archived bytes.Buffer
	out := tar.NewWriter(&archived)
	if err := selftest.Pack(out, "escape"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return &archived
}

// AllBlocked checks that no attempt succeeded, and that each attacker made 25 of them at least.
func AllBlocked(t *testing.T, attempts []doctor.Attempt, attackers ...string) {
	t.Helper()
	blocked := map[string]int{}
	for _, attempt := range attempts {
		switch attempt.Verdict {
		case doctor.Blocked:
			blocked[attempt.As]++
		case doctor.Escaped:
			t.Errorf("as %s: %s: %s, want it blocked", attempt.As, attempt.ID, attempt.Reason)
		default:
			t.Logf("as %s: %s: %s", attempt.As, attempt.ID, attempt.Reason)
		}
	}
	for _, as := range attackers {
		if blocked[as] < 25 {
			t.Errorf("as %s only %d attempts were made, want 25 at least", as, blocked[as])
		}
	}
}

// LoopDevice attaches an empty read-only disk and returns its device number.
func LoopDevice(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--read-only", file).Output()
	if err != nil {
		t.Fatalf("losetup: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command("losetup", "--detach", device).Run(); err != nil {
			t.Errorf("losetup --detach %s: %v", device, err)
		}
	})
	number, err := exec.Command("stat", "-c", "%Hr:%Lr", device).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(number))
}
