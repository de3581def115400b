//go:build linux

package docker

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newListener(t *testing.T) *Listener {
	t.Helper()
	folder := t.TempDir()
	client := filepath.Join(folder, "docker")
	if err := os.WriteFile(client, []byte("#!/bin/sh\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	listener, err := Listen(Kept{Socket: filepath.Join(folder, "docker.sock"), Second: filepath.Join(folder, "second.sock")}, client, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(listener.release)
	return listener
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func TestListenerKeepsClientsWaiting(t *testing.T) {
	l := newListener(t)
	if info, err := os.Stat(l.Socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket %v, %v, want mode 0660", info, err)
	}
	awake := make(chan struct{})
	go func() {
		l.Await()
		close(awake)
	}()
	select {
	case <-awake:
		t.Fatal("awake without a client")
	case <-time.After(50 * time.Millisecond):
	}
	first, second := dial(t, l.Socket), dial(t, l.Socket)
	select {
	case <-awake:
	case <-time.After(5 * time.Second):
		t.Fatal("not awake with clients")
	}
	dial(t, l.Socket).Close() // it gives up
	if _, err := io.WriteString(first, "early"); err != nil {
		t.Fatal(err)
	}
	if err := first.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	// The daemon gets the descriptor, and with it every client.
	daemon, err := net.FileListener(l.opened())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = daemon.Close() }()
	accepted, err := daemon.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(accepted); err != nil || string(text) != "early" {
		t.Errorf("read %q, %v, want early", text, err)
	}
	next, err := daemon.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(next, "hello"); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 5)
	if _, err := io.ReadFull(second, text); err != nil || string(text) != "hello" {
		t.Errorf("read %q, %v, want hello", text, err)
	}
}

func TestListenerWakesWhenTheClientStarts(t *testing.T) {
	l := newListener(t)
	awake := make(chan struct{})
	go func() {
		l.Await()
		close(awake)
	}()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if err := exec.Command(l.client).Run(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-awake:
			return
		case <-time.After(10 * time.Millisecond): // Await has not begun
		}
		if time.Now().After(deadline) {
			t.Fatal("not awake after the start of the client")
		}
	}
}

func TestListenerWithoutAClient(t *testing.T) {
	l := newListener(t)
	if err := os.Remove(l.client); err != nil {
		t.Fatal(err)
	}
	dial(t, l.Socket)
	l.Await()
}

func TestListenerRefuses(t *testing.T) {
	l := newListener(t)
	early := dial(t, l.Socket)
	l.Refuse("no space left")
	if _, err := io.WriteString(early, "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(early, answer); err != nil || string(answer) != "HTTP/1.1 500" {
		t.Errorf("an early client got %q, %v, want a refusal", answer, err)
	}
	response, err := ask(l.Socket, http.MethodGet, "/version")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); response.StatusCode != 500 || string(text) != `{"message":"no space left"}` {
		t.Errorf("%s %s, want a refusal", response.Status, text)
	}
	l.Refuse("another reason") // in place of the first
	l.Hold()
	waiting := dial(t, l.Socket)
	_ = waiting.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := waiting.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("after Hold a client got %v, want it to wait", err)
	}
}

func TestListenerIsReleased(t *testing.T) {
	l := newListener(t)
	waiting := dial(t, l.Socket)
	l.release()
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a waiting client was not disconnected")
	}
	if _, err := os.Lstat(l.Socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if !l.Used() {
		t.Error("unused, want used: it can't be started again")
	}
	l.Refuse("nothing")
	l.Hold()
}

func TestUse(t *testing.T) {
	l := newListener(t)
	running := "[]"
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, running) })}
	listener, err := net.FileListener(l.opened())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	if l.Used() {
		t.Error("used, want unused")
	}
	running = `[{"Id":"1"}]`
	if !l.Used() {
		t.Error("unused with a running container")
	}
	running = "[]"
	client := dial(t, l.Socket)
	if !l.Used() {
		t.Error("unused with a connected client")
	}
	client.Close()
	_ = server.Close()
	if !l.Used() { // the question itself waits for an answer, so it may run something
		t.Error("unused without an answer")
	}
}

func TestConnections(t *testing.T) {
	const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 23 /run/docker.sock
0000000000000000: 00000003 00000000 00000000 0001 03 24 /run/docker.sock
0000000000000000: 00000003 00000000 00000000 0001 02 27 /run/docker.sock
0000000000000000: 00000003 00000000 00000000 0001 03 25 /run/docker.sock2
0000000000000000: 00000003 00000000 00000000 0001 03 26
`
	if got := connections(table, "/run/docker.sock"); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestActivatedDaemon(t *testing.T) {
	daemon := exec.Command("/bin/sh", "-c", activate, "sh", "-c", `[ "$LISTEN_PID" = $$ ] && [ "$LISTEN_FDS" = 1 ] && echo "activated with $1"`, "sh", "two words")
	if text, err := daemon.CombinedOutput(); err != nil || string(text) != "activated with two words\n" {
		t.Errorf("got %q, %v, want an activated daemon", text, err)
	}
}
