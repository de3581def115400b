//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/runnerctl/runnerctl/commands"
)

// Main makes runnerctl a program for the tests of a package, in the form of their own binary.
func Main(m *testing.M) {
	testscript.Main(m, map[string]func(){"runnerctl": func() { os.Exit(commands.Main(os.Args)) }})
}

// Program returns the path of a runnerctl as released, without shared libraries.
func Program(t *testing.T) string {
	t.Helper()
	content, err := builtOnce()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "runnerctl")
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return program
}

var builtOnce = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "runnerctl-own-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "runnerctl")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/runnerctl/runnerctl")
	build.Dir, build.Env = Repository, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(program)
})

// Process is runnerctl as a separate process, for tests of signals and users. The package's
// TestMain calls Main.
func Process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("runnerctl")
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(path, args...)
}
