//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m) }

// TestScripts runs commands that a person would type at a shell. In addition to testscript's
// own commands there are `exits CODE PROGRAM…` and `ended-by SIGNAL CODE PROGRAM…`, which
// sends the signal once the program waits for the engine mute.sock.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DOCKER_HOST", os.Getenv("DOCKER_HOST"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "engine" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return engineAnswers()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "ended-by": endedBy},
	})
}

// engineAnswers reports whether an engine answers. In CI, a missing engine is an error.
func engineAnswers() (bool, error) {
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		defer func() { _ = api.Close() }()
		_, err = api.Ping(context.Background())
	}
	if err != nil && os.Getenv("CI") != "" {
		return false, fmt.Errorf("CI without a Docker Engine: %w", err)
	}
	return err == nil, nil
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	if got := codeOf(ts, err); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func codeOf(ts *testscript.TestScript, err error) int {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	ts.Check(err)
	return 0
}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}

func endedBy(ts *testscript.TestScript, _ bool, args []string) {
	signal, ok := signals[args[0]]
	if !ok {
		ts.Fatalf("signal %s", args[0])
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	// An engine that accepts the connection and never answers.
	socket := ts.MkAbs("mute.sock")
	_ = os.Remove(socket)
	mute, err := net.Listen("unix", socket)
	ts.Check(err)
	defer func() { _ = mute.Close() }()

	command := exec.Command(args[2], args[3:]...)
	command.Dir, command.Env = ts.MkAbs("."), []string{"PATH=" + os.Getenv("PATH"), "DOCKER_HOST=unix://" + socket, "HOME=" + ts.MkAbs(".")}
	command.Stdout, command.Stderr = ts.Stdout(), ts.Stderr()
	if signal == syscall.SIGHUP { // nohup's children would ignore it
		heard := make(chan os.Signal, 1)
		ossignal.Notify(heard, signal)
		defer ossignal.Stop(heard)
	}
	ts.Check(command.Start())
	called := make(chan error, 1)
	go func() {
		_, err := mute.Accept()
		called <- err
	}()
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err := <-called:
		ts.Check(err)
	case err := <-ended:
		ts.Fatalf("ended before the signal: %v", err)
	}
	ts.Check(command.Process.Signal(signal))
	select {
	case err := <-ended:
		if got := codeOf(ts, err); got != want {
			ts.Fatalf("exit code %d, want %d", got, want)
		}
	case <-time.After(10 * time.Second):
		_ = command.Process.Kill()
		ts.Fatalf("%s goes on after SIG%s", filepath.Base(args[2]), args[0])
	}
}
