//go:build linux

package process

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reaper is the only one of the test program.
var reaper = sync.OnceValue(func() *Reaper {
	r, err := NewReaper()
	if err != nil {
		panic(err)
	}
	return r
})

func start(t *testing.T, script string, files ...*os.File) *Process {
	t.Helper()
	process, err := reaper().Start(Spec{Path: "sh", Args: []string{"-c", script}, Env: os.Environ(), Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return process
}

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{"true": 0, "exit 7": 7, "kill -9 $$": 137, "kill -TERM $$": 143} {
		process := start(t, script)
		<-process.Done()
		if got := process.Code(); got != want {
			t.Errorf("%s: code %d, want %d", script, got, want)
		}
		if err := process.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("a signal after the end: %v, want %v", err, os.ErrProcessDone)
		}
	}
}

// Many short processes at once: no end is missed.
func TestNoEndIsMissed(t *testing.T) {
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if code, err := reaper().Run(Spec{Path: "/bin/true"}); err != nil || code != 0 {
				t.Errorf("code %d, %v, want 0", code, err)
			}
		})
	}
	group.Wait()
}

func TestProgramsAreLookedUpInTheirOwnPath(t *testing.T) {
	folder := t.TempDir()
	for name, mode := range map[string]os.FileMode{"here": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\nexit 3\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=/nosuch:" + folder}
	if code, err := reaper().Run(Spec{Path: "here", Env: env}); err != nil || code != 3 {
		t.Errorf("code %d, %v, want 3", code, err)
	}
	for name, want := range map[string]error{"data": os.ErrPermission, "missing": os.ErrNotExist} {
		if _, err := reaper().Start(Spec{Path: name, Env: env}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestFilesAndGroups(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	process, err := reaper().Start(Spec{
		Path: "sh", Args: []string{"-c", "sleep 60 & echo started; wait"}, Env: os.Environ(),
		Files: []*os.File{nil, write, nil}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	line := make([]byte, 8)
	if _, err := io.ReadFull(read, line); err != nil || string(line) != "started\n" {
		t.Fatalf("%q %v, want started", line, err)
	}
	if err := process.SignalGroup(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The pipe is closed only when the sleeping process has ended too.
	closed := make(chan error, 1)
	go func() {
		_, err := read.Read(line)
		closed <- err
	}()
	select {
	case err := <-closed:
		if !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of the pipe", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a process of the group goes on")
	}
	<-process.Done()
}

func TestLastValueOfAVariableCounts(t *testing.T) {
	if got := unique([]string{"A=1", "B=2", "A=3", "C=", "B=4"}); !slices.Equal(got, []string{"A=3", "C=", "B=4"}) {
		t.Errorf("got %q", got)
	}
}

// Only processes that others left behind get the signal, not those that this process started.
func TestStrays(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	own := start(t, "exec sleep 1000003")
	left := start(t, "sleep 1000004 & echo", nil, write)
	<-left.Done()
	write.Close()
	uid := uint32(os.Getuid())
	for end := time.Now().Add(10 * time.Second); reaper().SignalStrays(uid, syscall.SIGKILL) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stray was not found")
		}
	}
	if _, err := io.ReadAll(read); err != nil { // ends when the stray has ended
		t.Fatal(err)
	}
	select {
	case <-own.Done():
		t.Error("an own process was ended")
	case <-time.After(50 * time.Millisecond):
	}
	_ = own.Signal(syscall.SIGKILL)
	<-own.Done()
}

func TestOOMScoreIsInherited(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	process, err := reaper().Start(Spec{Path: "cat", Args: []string{"/proc/self/oom_score_adj"}, Env: os.Environ(), Files: []*os.File{nil, write}, OOMScore: 500})
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil || string(text) != "500\n" {
		t.Errorf("got %q, %v, want 500", text, err)
	}
	<-process.Done()
}
