//go:build linux

// Package enginetest starts private Docker Engines for tests that break, fill, restart or
// misconfigure one. Each has its own process, mount and network namespaces, its own data-root
// on a loopback file system, and its own /dev/net/tun. The machine's own engine is never
// touched, and nothing outlives the test.
package enginetest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

//go:embed start
var script string

// Options describes a private engine.
type Options struct {
	DiskMiB int                         // size of the data-root's file system; 0: 4096 (sparse)
	Disk    string                      // the file to create it in, which stays; "": a file that is removed with the test
	TunMode os.FileMode                 // of its /dev/net/tun; 0: 0666
	Args    []string                    // further arguments of dockerd
	Linked  bool                        // it and its containers reach this machine at Gateway, and nothing else
	Config  func(gateway string) string // its daemon.json; gateway is Engine.Gateway, "" unless Linked
	TLS     *Authority                  // with Linked: it listens on TCP too, for clients that the authority signed

	From   *client.Client // the engine that has Images
	Images []string       // that this one has from the start; DiskMiB must be at least 2000
}

// Engine is a private Docker Engine.
type Engine struct {
	Host    string // for DOCKER_HOST
	API     *client.Client
	Gateway string // this machine's address, with Options.Linked
	TCP     string // tcp://…, with Options.TLS

	dir     string
	options Options
	cable   cable
	command *exec.Cmd
}

// Start starts a private engine and ends it with the test. If engines can't be started (no
// root, no dockerd), the test is skipped; in CI it fails.
func Start(t *testing.T, options Options) *Engine {
	t.Helper()
	NeedRoot(t, "a private engine", "dockerd")
	if options.DiskMiB == 0 {
		options.DiskMiB = 4096
	}
	if options.TunMode == 0 {
		options.TunMode = 0o666
	}
	dir, err := os.MkdirTemp("", "rctl-") // short: a socket's path is limited to 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Host: "unix://" + filepath.Join(dir, "docker.sock"), dir: dir, options: options}
	t.Cleanup(func() {
		e.Kill()
		if t.Failed() {
			t.Logf("the private engine's last words:\n%s", e.Log(20))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if options.Disk != "" {
		if err := os.Symlink(options.Disk, e.disk()); err != nil {
			t.Fatal(err)
		}
	}
	if len(options.Images) > 0 {
		copySeed(t, seedOf(t, options), e.disk(), options.DiskMiB)
	} else {
		makeDisk(t, e.disk(), options.DiskMiB)
	}
	if options.Linked {
		e.cable = newCable()
		e.Gateway = e.cable.here
	}
	if options.Config != nil {
		if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "etc/daemon.json"), []byte(options.Config(e.Gateway)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if options.TLS != nil {
		e.TCP = "tcp://" + e.cable.address + ":2376"
		e.options.Args = append(e.options.Args, options.TLS.serve(t, e.dir, e.cable.address)...)
	}
	if e.API, err = client.NewClientWithOpts(client.WithHost(e.Host), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	e.Run(t)
	return e
}

// disk is the file with the data-root's file system.
func (e *Engine) disk() string { return filepath.Join(e.dir, "disk") }

func makeDisk(t *testing.T, path string, mib int) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", path).CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
}

// NeedRoot skips the test without root or without the program; in CI the test fails.
func NeedRoot(t *testing.T, what, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil || os.Getuid() != 0 {
		problem := fmt.Sprintf("%s needs root and %s (uid %d, %v)", what, program, os.Getuid(), err)
		if os.Getenv("CI") != "" {
			t.Fatal(problem)
		}
		t.Skip(problem)
	}
}

// Run starts the engine's process on its data-root. It can run again after Kill.
func (e *Engine) Run(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	e.released(t)
	// In a process namespace, all processes die with the first one.
	e.command = exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "--mount-proc",
		"sh", "-c", script, "start", e.dir, strconv.FormatUint(uint64(e.options.TunMode.Perm()), 8))
	e.command.Args = append(e.command.Args, e.options.Args...)
	e.command.Stdout, e.command.Stderr = log, log
	e.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := startFor(e.command); err != nil {
		t.Fatal(err)
	}
	if e.options.Linked {
		e.cable.plug(t, e.command, func() string { return e.Log(20) })
	}
	waitFor(t, e.API, func() string { return e.Log(20) })
}

// waitFor waits until an engine answers.
func waitFor(t *testing.T, api *client.Client, log func() string) {
	t.Helper()
	for limit := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := api.Ping(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("the private engine did not answer: %v\n%s", err, log())
		}
	}
}

// startFor starts a command that dies with this process. The kernel sends its signal for that
// (Pdeathsig) when the thread that started the command ends, and Go ends threads at any time,
// so startFor keeps that thread until the command has ended.
func startFor(command *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- command.Start()
		if command.Process != nil {
			var info unix.Siginfo
			for {
				// WNOWAIT leaves the exit status for Wait.
				err := unix.Waitid(unix.P_PID, command.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
				if !errors.Is(err, unix.EINTR) {
					return
				}
			}
		}
	}()
	return <-started
}

// Kill ends the engine and all its containers at once.
func (e *Engine) Kill() {
	if e.command == nil {
		return
	}
	_ = e.command.Process.Kill() // the namespace's first process dies with it
	_ = e.command.Wait()
	e.command = nil
	// As after a reboot: a stale pid file may name a living process of the next namespace,
	// and the engine would wait for its containerd in vain.
	for _, name := range []string{"docker.sock", "docker.pid", "exec"} {
		_ = os.RemoveAll(filepath.Join(e.dir, name))
	}
}

// Stop ends the engine gracefully, and waits until nothing holds its disk.
func (e *Engine) Stop(t *testing.T) {
	t.Helper()
	e.script(t, exec.Command("pkill", "--parent", e.first(t), "dockerd"))
	_ = e.command.Wait()
	e.command = nil
	e.released(t)
}

// Restart ends the engine's process gracefully, and starts another one in its namespaces:
// with live-restore, containers do not notice.
func (e *Engine) Restart(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, "again"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.script(t, exec.Command("pkill", "--parent", e.first(t), "dockerd"))
	for limit := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(e.dir, "again")); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the private engine does not end:\n%s", e.Log(20))
		}
	}
	waitFor(t, e.API, func() string { return e.Log(20) })
}

// released waits until nothing holds the disk: the kernel removes a dead engine's mount with
// a delay, and a second engine would miss data that is not written yet.
func (e *Engine) released(t *testing.T) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		held := strings.TrimSpace(e.script(t, exec.Command("losetup", "--associated", e.disk())))
		if held == "" {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("the private engine's disk is held: %s", held)
		}
	}
}

func (e *Engine) script(t *testing.T, command *exec.Cmd) string {
	t.Helper()
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("private engine: %v: %s", err, out)
	}
	return string(out)
}

// childOf returns the id of the process that unshare forked; "" while there is none.
func childOf(command *exec.Cmd) string {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", command.Process.Pid))
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(children), " ")
	return first
}

// first returns the id of the first process in the engine's namespaces.
func (e *Engine) first(t *testing.T) string {
	t.Helper()
	first := childOf(e.command)
	if first == "" {
		t.Fatal("the private engine has ended")
	}
	return first
}

// Inside runs a script as root in the engine's own process, mount and network namespaces;
// $DIR is the engine's folder, and $DIR/data the data-root.
func (e *Engine) Inside(t *testing.T, script string) string {
	t.Helper()
	command := exec.Command("nsenter", "--target", e.first(t), "--mount", "--net", "--pid", "sh", "-euc", script)
	command.Env = append(os.Environ(), "DIR="+e.dir)
	return e.script(t, command)
}

// Fill fills the engine's data-root until only leave MiB are free; the returned function
// removes the filling.
func (e *Engine) Fill(t *testing.T, leave int64) (empty func()) {
	t.Helper()
	// The file system is mounted in the engine's own mount namespace.
	root := filepath.Join("/proc", e.first(t), "root", e.dir, "data")
	filling := filepath.Join(root, "filling")
	file, err := os.Create(filling)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for size := int64(0); ; size += 1 << 20 {
		var stat syscall.Statfs_t
		if err := syscall.Statfs(root, &stat); err != nil {
			t.Fatal(err)
		}
		// Not Bavail: the engine runs as root, so it could also fill the part reserved for
		// root.
		if int64(stat.Bfree)*stat.Bsize <= leave<<20 {
			break
		}
		if err := syscall.Fallocate(int(file.Fd()), 0, size, 1<<20); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(filling); err != nil {
			t.Error(err)
		}
	}
}

// Log returns the engine's last lines.
func (e *Engine) Log(n int) string { return lastOf(filepath.Join(e.dir, "log"), n) }

func lastOf(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// CopyImage copies images from another engine.
func (e *Engine) CopyImage(t *testing.T, from *client.Client, references ...string) {
	t.Helper()
	CopyImage(t, from, e.API, references...)
}

// CopyImage copies images from one engine to another.
func CopyImage(t *testing.T, from, to *client.Client, references ...string) {
	t.Helper()
	stream, err := from.ImageSave(t.Context(), references)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	response, err := to.ImageLoad(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
}
