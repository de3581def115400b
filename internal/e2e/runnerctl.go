package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Repository is the folder of go.mod. It is absolute, since tests change their folder.
var Repository = func() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..")
}()

// InRepository returns the absolute path of a file of the repository.
func InRepository(path string) string { return filepath.Join(Repository, path) }

// Runnerctl runs a command line in this process, with empty standard input.
func Runnerctl(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	streams := ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	code = commands.Run(ctx, session.Session{Streams: streams, Env: os.Getenv, GOOS: runtime.GOOS}, append([]string{"runnerctl"}, args...))
	return code, out.String(), errs.String()
}

// Must runs a command line that has to succeed and returns its standard output.
func Must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := Runnerctl(t.Context(), args...)
	if code != 0 {
		t.Fatalf("runnerctl %s: exit code %d, want 0\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// Step runs a subtest on which later ones build: if it fails, the test ends.
func Step(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, test) {
		t.FailNow()
	}
}

// NeedProgram skips the test without a program that scripts/host/setup.sh --tests installs. In
// CI it fails.
func NeedProgram(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v (scripts/host/setup.sh --tests installs it)", err)
	}
}

// Eventually waits until holds returns true, and fails after the limit.
func Eventually(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// WriteFile writes a file that only its owner can read.
func WriteFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ReadFile returns the content of a file, or the error if it can't be read.
func ReadFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprint(err) // the process has ended
	}
	return string(text)
}

// MuteEngine accepts connections and never answers.
func MuteEngine(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "mute.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "unix://" + socket
}
