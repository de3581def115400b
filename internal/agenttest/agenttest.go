// Package agenttest builds the agent of testagent/ for tests.
package agenttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// packed holds the archives that this process has built, by their arguments.
var packed sync.Map

// Archive packs the agent for this machine's architecture, like a release of GitHub's runner,
// and returns the path; args are further arguments of testagent/pack.
func Archive(t testing.TB, args ...string) string {
	t.Helper()
	archive, key := filepath.Join(t.TempDir(), "testagent.tar.gz"), strings.Join(args, " ")
	if made, found := packed.Load(key); found {
		if err := os.WriteFile(archive, made.([]byte), 0o600); err != nil {
			t.Fatal(err)
		}
		return archive
	}
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "..", "..", "testagent")
	if output, err := exec.Command("go", append([]string{"-C", module, "run", "./pack", "-o", archive}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("pack the agent: %v: %s", err, output)
	}
	made, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	packed.Store(key, made)
	return archive
}

// Unpack extracts the agent's archive into the folder root.
func Unpack(t testing.TB, archive, root string) {
	t.Helper()
	if output, err := exec.Command("tar", "-xzf", archive, "-C", root).CombinedOutput(); err != nil {
		t.Fatalf("unpack the agent: %v: %s", err, output)
	}
}
