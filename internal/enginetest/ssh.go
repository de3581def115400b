//go:build linux

package enginetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SSH is an sshd with its own keys, on loopback or on a Machine, and the ssh that logs in
// there. It reads and writes no user's ~/.ssh.
type SSH struct {
	Address string // ssh://…, of this user

	dir string
}

// SSHOptions describes an SSH.
type SSHOptions struct {
	Env     []string // NAME=VALUE, for the commands that run there
	Machine *Machine // the machine that it runs on; nil: this machine
}

// StartSSH starts an sshd, ends it with the test, and puts an ssh that knows it first in
// PATH.
func StartSSH(t *testing.T, options SSHOptions) *SSH {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
	}
	NeedRoot(t, "a private sshd", sshd)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	port, listen, dir := freePort(t), "127.0.0.1", t.TempDir()
	if options.Machine != nil {
		listen = options.Machine.Address
		if dir, err = os.MkdirTemp(options.Machine.dir, "ssh"); err != nil { // the machine sees it too
			t.Fatal(err)
		}
	}
	at := net.JoinHostPort(listen, port)
	s := &SSH{Address: fmt.Sprintf("ssh://%s@%s", me.Username, at), dir: dir}
	s.useKeys(t, "host", "user", "other")
	env := ""
	if len(options.Env) > 0 {
		env = "SetEnv " + strings.Join(options.Env, " ") + "\n"
	}
	s.write(t, "sshd_config", "ListenAddress "+at+"\nHostKey "+s.path("host")+"\nAuthorizedKeysFile "+s.path("authorized_keys")+
		"\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"+env, 0o600)
	s.Allow(t, "user")
	s.Know(t, "host")

	words := []string{sshd, "-D", "-e", "-f", s.path("sshd_config")}
	command := exec.Command(words[0], words[1:]...)
	if options.Machine != nil {
		command = options.Machine.inside(words...)
	} else if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd requires it
		t.Fatal(err)
	}
	log, err := os.Create(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startFor(command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = log.Close()
		if said, err := os.ReadFile(s.path("log")); t.Failed() && err == nil {
			t.Logf("sshd:\n%s", said)
		}
	})
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.Dial("tcp", at)
		if err == nil {
			_ = connection.Close()
			return s
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// useKeys creates keys, and puts an ssh that has the key "user" first in PATH.
func (s *SSH) useKeys(t *testing.T, names ...string) {
	t.Helper()
	for _, key := range names {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", s.path(key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	s.write(t, "ssh_config", "IdentityFile "+s.path("user")+"\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile "+s.path("known_hosts")+"\nGlobalKnownHostsFile none\n", 0o600)
	client, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "bin/ssh", "#!/bin/sh\nexec "+client+" -F "+s.path("ssh_config")+" \"$@\"\n", 0o700)
	t.Setenv("PATH", s.path("bin")+":"+os.Getenv("PATH"))
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String()) //nolint:errcheck // a listener's address has a port
	return port
}

func (s *SSH) path(name string) string { return filepath.Join(s.dir, name) }

func (s *SSH) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func (s *SSH) public(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile(s.path(key + ".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Allow makes the sshd accept the key "user", or "other", which no client has; with "" it
// accepts none.
func (s *SSH) Allow(t *testing.T, key string) {
	t.Helper()
	text := ""
	if key != "" {
		text = s.public(t, key)
	}
	s.write(t, "authorized_keys", text, 0o600)
}

// Know makes the client trust the key "host", which the sshd has, or "other"; with "" it
// trusts none.
func (s *SSH) Know(t *testing.T, key string) {
	t.Helper()
	text := ""
	if key != "" {
		at := strings.TrimPrefix(s.Address[strings.Index(s.Address, "@")+1:], "@")
		host, port, _ := net.SplitHostPort(at) //nolint:errcheck // StartSSH wrote it
		text = "[" + host + "]:" + port + " " + s.public(t, key)
	}
	s.write(t, "known_hosts", text, 0o600)
}
