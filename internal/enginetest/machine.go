//go:build linux

package enginetest

import (
	"bytes"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

//go:embed machine
var machineScript string

// Machine is a throw-away machine. It sees this machine's files, but its own writes stay in
// it. Its network, its processes, its /dev/net/tun and the kernel settings that runners need
// are its own.
type Machine struct {
	Address string // reachable from this machine
	Gateway string // this machine, reachable from there and from the containers there

	dir     string
	command *exec.Cmd
}

// StartMachine starts a machine and ends it with the test.
func StartMachine(t *testing.T) *Machine {
	t.Helper()
	NeedRoot(t, "a throw-away machine", "unshare")
	dir, err := os.MkdirTemp("", "rctl-")
	if err != nil {
		t.Fatal(err)
	}
	cable := newCable()
	m := &Machine{Address: cable.address, Gateway: cable.here, dir: dir}
	if err := os.Mkdir(filepath.Join(dir, "over"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.command = exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "sh", "-c", machineScript, "machine", dir)
	var said bytes.Buffer
	m.command.Stdout, m.command.Stderr = &said, &said
	m.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := startFor(m.command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.command.Process.Kill()
		_ = m.command.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if first := childOf(m.command); first != "" {
			if _, err := os.Stat(filepath.Join("/proc", first, "root/run/machine-is-up")); err == nil {
				cable.plug(t, m.command, said.String)
				return m
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("the throw-away machine does not come up:\n%s", said.String())
		}
	}
}

// inside returns a command that runs in that machine.
func (m *Machine) inside(words ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", childOf(m.command), "--mount", "--net", "--pid"}, words...)...)
}

// Run runs a script in the machine as root.
func (m *Machine) Run(script string, args ...string) (out string, err error) {
	command := m.inside(append([]string{"sh", "-s", "--"}, args...)...)
	command.Stdin = strings.NewReader(script)
	var said, errs bytes.Buffer
	command.Stdout, command.Stderr = &said, &errs
	if err = command.Run(); err != nil {
		err = errors.New(err.Error() + ": " + errs.String())
	}
	return said.String(), err
}

// Must is like Run, but an error fails the test.
func (m *Machine) Must(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := m.Run(script, args...)
	if err != nil {
		t.Fatalf("%s%v", out, err)
	}
	return out
}

// Written lists the files that were created or changed in the machine.
func (m *Machine) Written(t *testing.T) []string {
	t.Helper()
	return strings.Fields(m.Must(t, `cd "$1/written" && find . -mindepth 1 -not -type d -printf '/%P\n' | sort`, m.dir))
}

// StartEngine starts a Docker Engine in the machine, at its usual socket and, with an
// authority, also on TCP. It ends with the machine.
func (m *Machine) StartEngine(t *testing.T, authority *Authority) *client.Client {
	t.Helper()
	path := func(name string) string { return filepath.Join(m.dir, name) }
	words := []string{
		"dockerd", "--host", "unix:///run/docker.sock", "--host", "unix://" + path("docker.sock"),
		"--data-root", path("data"), "--exec-root", path("exec"), "--pidfile", path("docker.pid"),
	}
	if authority != nil {
		words = append(words, authority.serve(t, m.dir, m.Address)...)
	}
	dockerd := m.inside(words...)
	log, err := os.Create(path("log"))
	if err != nil {
		t.Fatal(err)
	}
	dockerd.Stdout, dockerd.Stderr = log, log
	if err := startFor(dockerd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = dockerd.Process.Kill()
		_ = dockerd.Wait()
		_ = log.Close()
	})
	api, err := client.NewClientWithOpts(client.WithHost("unix://"+path("docker.sock")), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, api, func() string { return lastOf(path("log"), 20) })
	return api
}
