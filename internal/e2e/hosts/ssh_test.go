//go:build linux

package hosts

import (
	"bytes"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// within is the time in which an operator learns about a problem of a host.
const within = 15 * time.Second

// refused runs a command that must fail in time with the given words.
func refused(t *testing.T, args []string, words ...string) {
	t.Helper()
	started := time.Now()
	code, stdout, stderr := e2e.Runnerctl(t.Context(), args...)
	if took := time.Since(started); code != commands.ExitFailure || stdout != "" || took > within {
		t.Errorf("%v: exit code %d after %s, want %d within %s; stdout %q, want none", args, code, took, commands.ExitFailure, within, stdout)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%v: no %q in\n%s", args, word, stderr)
		}
	}
	if strings.Contains(stderr, "docker.example.com") || strings.Contains(stderr, "command [ssh") {
		t.Errorf("%v: stderr:\n%s\nwant none of the client's words", args, stderr)
	}
}

// Problems of a machine behind ssh are each reported with their cause.
func TestSSHHost(t *testing.T) {
	e2e.Engine(t)
	t.Chdir(t.TempDir())
	host := enginetest.StartSSH(t, enginetest.SSHOptions{})
	at := []string{"ps", "--host", host.Address}
	port := host.Address[strings.LastIndex(host.Address, ":")+1:]
	e2e.Must(t, at...)
	for _, goos := range []string{"darwin", "windows"} {
		var out, errs bytes.Buffer
		s := session.Session{Streams: ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Env: os.Getenv, GOOS: goos}
		if code := commands.Run(t.Context(), s, append([]string{"runnerctl"}, at...)); code != 0 {
			t.Errorf("%s: exit code %d, want 0: %s", goos, code, errs.String())
		}
	}

	host.Know(t, "")
	refused(t, at, "its host key is unknown", "Host key verification failed.", "hint   ssh -p "+port+" ")
	host.Know(t, "other")
	refused(t, at, "its host key differs from the key that this machine trusts", "IDENTIFICATION HAS CHANGED", "ssh-keygen -R '[127.0.0.1]:"+port+"'")
	host.Know(t, "host")
	host.Allow(t, "other")
	refused(t, at, "the ssh login is refused", "Permission denied (publickey).")
	host.Allow(t, "user")
	e2e.Must(t, at...)

	code, stdout, _ := e2e.Runnerctl(t.Context(), "doctor", "--host", "ssh://127.0.0.1:1", "--offline")
	if code != commands.ExitFailure || !strings.Contains(stdout, "✘ engine.reachable") || !strings.Contains(stdout, "nothing listens at that address") {
		t.Errorf("doctor: exit code %d, want %d; stdout:\n%s\nwant %q and %q", code, commands.ExitFailure, stdout, "✘ engine.reachable", "nothing listens at that address")
	}
	refused(t, []string{"ps", "--host", "ssh://nosuch.invalid"}, "its name can't be resolved")
}

// A machine without Docker, and one whose engine does not run.
func TestSSHHostWithoutDocker(t *testing.T) {
	t.Chdir(t.TempDir())
	none := enginetest.StartSSH(t, enginetest.SSHOptions{Env: []string{"PATH=/nosuch"}})
	refused(t, []string{"ps", "--host", none.Address}, "it has no docker command", "runnerctl host prepare "+none.Address)
	stopped := enginetest.StartSSH(t, enginetest.SSHOptions{Env: []string{"DOCKER_HOST=unix:///nosuch.sock"}})
	refused(t, []string{"ps", "--host", stopped.Address}, "its Docker Engine is not running", "systemctl enable --now docker")
}

// Hosts that accept the connection and send nothing.
func TestSilentHost(t *testing.T) {
	t.Chdir(t.TempDir())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		// A connection that nothing refers to is closed by the garbage
		// collector, and the client would see a reset, no silence.
		var open []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				for _, conn := range open {
					_ = conn.Close()
				}
				return
			}
			open = append(open, conn)
		}
	}()
	var both sync.WaitGroup
	defer both.Wait()
	for _, scheme := range []string{"ssh", "tcp"} {
		both.Go(func() {
			refused(t, []string{"ps", "--host", scheme + "://" + listener.Addr().String()}, "answer", "check that the machine is up")
		})
	}
}
