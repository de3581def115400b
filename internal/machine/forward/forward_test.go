//go:build linux

package forward

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fixture is a cache that returns the bodies of its requests.
type fixture struct {
	*Cache
	t       *testing.T
	socket  string
	address string
	server  *http.Server
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, socket: filepath.Join(t.TempDir(), "cache.sock")}
	var err error
	if f.Cache, err = Open(f.socket, "ci-7k2p"); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go f.Serve(listener)
	f.address = "http://" + listener.Addr().String()
	return f
}

func (f *fixture) up() {
	f.t.Helper()
	_ = os.Remove(f.socket)
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	f.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", r.RemoteAddr)
		_, _ = io.Copy(w, r.Body)
	})}
	go func() { _ = f.server.Serve(listener) }()
	f.t.Cleanup(func() { _ = f.server.Close() })
}

func (f *fixture) post(body []byte) (status int, text []byte, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	got, err := client.Post(f.address, "text/plain", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = got.Body.Close() }()
	text, err = io.ReadAll(got.Body)
	return got.StatusCode, text, err
}

func TestForward(t *testing.T) {
	f := start(t)
	if status, _, err := f.post(bytes.Repeat([]byte("x"), 1<<20)); err != nil || status != http.StatusNotFound || f.Answers() {
		t.Errorf("without a cache: %d, %v, want 404", status, err)
	}
	for path, want := range map[string]int{
		"/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry":  http.StatusNotFound,
		"/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact": http.StatusServiceUnavailable,
		"/v2/library/busybox/manifests/latest?ns=/twirp/":                     http.StatusNotFound,
	} {
		answer, err := http.Get(f.address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s without a cache: %d, want %d", path, answer.StatusCode, want)
		}
	}
	for range 2 { // the second time, another cache has replaced the first
		f.up()
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				body := bytes.Repeat([]byte{byte(i)}, 3<<20)
				if status, text, err := f.post(body); err != nil || status != http.StatusOK || !bytes.Equal(text, body) {
					t.Errorf("got %d, %d bytes, %v", status, len(text), err)
				}
			})
		}
		group.Wait()
		if !f.Answers() {
			t.Error("the cache does not answer")
		}
		_ = f.server.Close()
	}
}

// A connection names its runner. If a job has taken its address, it has no name.
func TestNameOfTheRunner(t *testing.T) {
	f := start(t)
	f.up()
	taken, err := net.Listen("unix", "@ci-7k2p/2")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, want := range []string{"@ci-7k2p/1", "@", "@ci-7k2p/3"} {
		answer, err := client.Get(f.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := answer.Header.Get("X-From"); got != want {
			t.Errorf("from %q, want %q", got, want)
		}
	}
}

// A client that closes its side gets the answer. If it leaves, the connection ends.
func TestHalfClosed(t *testing.T) {
	f := start(t)
	f.up()
	client, err := net.Dial("tcp", strings.TrimPrefix(f.address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := io.WriteString(client, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil { //nolint:forcetypeassert,errorlint // of a TCP connection
		t.Fatal(err)
	}
	if text, err := io.ReadAll(client); err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.0 200 OK")) {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestAnnounce(t *testing.T) {
	f := start(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "cache-url"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	stop, ended := make(chan struct{}), make(chan struct{})
	if _, err := file.WriteString("http://from.an.earlier.start\n"); err != nil {
		t.Fatal(err)
	}
	go func() {
		f.Announce(file, "http://169.254.213.100:4180", stop)
		close(ended)
	}()
	read := func() string {
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	await := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(4 * askPause); read() != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the file has %q, want %q", read(), want)
			}
		}
	}
	await("")
	f.up()
	await("http://169.254.213.100:4180\n")
	_ = f.server.Close()
	await("")
	close(stop)
	<-ended
}

func TestOpenFails(t *testing.T) {
	if _, err := Open("/nowhere/at/all/cache.sock", ""); err == nil {
		t.Error("no error")
	}
}

func TestOpenFile(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	for _, name := range []string{"good", "linked", "another/file"} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Symlink("good", in("link")), os.Symlink("another", in("folder")), os.Link(in("linked"), in("second"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, good := range map[string]bool{"good": os.Getuid() == 0, "link": false, "folder/file": false, "linked": false, "another": false, "none": false} {
		file, err := OpenFile(in(name))
		if (err == nil) != good {
			t.Errorf("%s: %v, want it open: %t", name, err, good)
		}
		if err == nil {
			_ = file.Close()
		}
	}
}
