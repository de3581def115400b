//go:build linux

package canary

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	token, path := "canary-"+filepath.Base(t.TempDir())+fmt.Sprint(os.Getpid()), filepath.Join(t.TempDir(), "file")
	in, end := io.Pipe()
	said, out := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- Run([]string{token, path}, in, out, &errs) }()
	var port, local, key int
	if _, err := fmt.Fscanln(said, &port, &local, &key); err != nil {
		t.Fatalf("%v, errors %q", err, &errs)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != token+"\n" {
		t.Errorf("the file has %q, %v, want %q", text, err, token+"\n")
	}
	for _, at := range []struct{ network, address string }{{"tcp", fmt.Sprintf("127.0.0.2:%d", port)}, {"tcp", fmt.Sprintf("127.0.0.1:%d", local)}, {"unix", "@" + token}} {
		client, err := net.Dial(at.network, at.address)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(client); err != nil || string(text) != token+"\n" {
			t.Errorf("%s answers %q, %v, want %q", at.address, text, err, token+"\n")
		}
		_ = client.Close()
	}
	if client, err := net.Dial("tcp", fmt.Sprintf("127.0.0.2:%d", local)); err == nil {
		_ = client.Close()
		t.Error("the port on localhost answers on another address")
	}
	if _, err := unix.SysvShmGet(key, 4096, 0); err != nil {
		t.Errorf("shared memory: %v", err)
	}
	_ = end.Close()
	if code := <-ended; code != 0 || errs.Len() > 0 {
		t.Errorf("code %d, errors %q, want 0 and none", code, &errs)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was left")
	}
	if _, err := unix.SysvShmGet(key, 4096, 0); err == nil {
		t.Error("the shared memory was left")
	}
}

func TestRunFails(t *testing.T) {
	var errs bytes.Buffer
	for _, test := range []struct {
		arguments []string
		code      int
		want      string
	}{{nil, 2, "a token and a file"}, {[]string{"token", "/nowhere/at/all"}, 1, "/nowhere/at/all"}} {
		errs.Reset()
		if code := Run(test.arguments, strings.NewReader(""), io.Discard, &errs); code != test.code || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%q: code %d, errors %q, want %d and %q", test.arguments, code, &errs, test.code, test.want)
		}
	}
}

func TestCount(t *testing.T) {
	said, out := io.Pipe()
	go Count(out, io.Discard) // until the test ends
	var port int
	if _, err := fmt.Fscanln(said, &port); err != nil {
		t.Fatal(err)
	}
	for _, sent := range []int{0, 100_000} {
		client, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(make([]byte, sent)); err != nil {
			t.Fatal(err)
		}
		_ = client.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert,errorlint // of a TCP connection
		if text, err := io.ReadAll(client); err != nil || string(text) != fmt.Sprintf("%d\n", sent) {
			t.Errorf("after %d bytes: %q, %v", sent, text, err)
		}
		_ = client.Close()
	}
}
