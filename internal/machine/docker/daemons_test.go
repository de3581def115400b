//go:build linux

package docker

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine/process"
)

func TestReadinessOfSdNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	ready, err := listenForReady(path)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for _, message := range []string{"STATUS=READY=1", "READY=0", "", "MAINPID=7\nREADY=1\nSTATUS=up"} {
		if _, err := socket.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-ready:
	case <-time.After(5 * time.Second):
		t.Fatal("no report")
	}
	select {
	case <-ready:
		t.Error("two reports, want one")
	case <-time.After(50 * time.Millisecond):
	}
}

func listen(t *testing.T, path string, handler http.HandlerFunc) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener
}

func TestPing(t *testing.T) {
	folder := t.TempDir()
	if version, ok := Ping(filepath.Join(folder, "missing")); ok {
		t.Errorf("got %q of a missing socket", version)
	}
	for name, test := range map[string]struct {
		server string
		code   int
		want   string
	}{
		"answers":     {"Docker/28.0.1 (linux)", 200, "28.0.1"},
		"not ready":   {"Docker/28.0.1 (linux)", 503, ""},
		"not dockerd": {"nginx", 200, ""},
	} {
		path := filepath.Join(folder, name)
		listen(t, path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodHead || r.URL.Path != "/_ping" {
				t.Errorf("%s %s, want HEAD /_ping", r.Method, r.URL)
			}
			w.Header().Set("Server", test.server)
			w.WriteHeader(test.code)
		})
		if version, ok := Ping(path); ok != (test.want != "") || ok && version != test.want {
			t.Errorf("%s: %q %t, want %q", name, version, ok, test.want)
		}
	}
}

// The daemon goes on listening on a socket that was removed.
func TestSocketIsKept(t *testing.T) {
	folder := t.TempDir()
	kept := Kept{Socket: filepath.Join(folder, "docker.sock"), Second: filepath.Join(folder, "second")}
	if kept.Lost() {
		t.Error("lost before it was there")
	}
	if err := kept.Keep(); err == nil {
		t.Error("kept a socket that is not there")
	}
	listen(t, kept.Socket, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "Docker/1") })
	if err := kept.Keep(); err != nil || kept.Lost() {
		t.Fatalf("%v, lost: %t, want it kept", err, kept.Lost())
	}
	for name, harm := range map[string]func() error{
		"removed":  func() error { return os.Remove(kept.Socket) },
		"replaced": func() error { return os.Rename(makeFile(t), kept.Socket) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if !kept.Lost() {
			t.Errorf("%s: not lost, want lost", name)
		}
		if err := kept.Restore(); err != nil || kept.Lost() {
			t.Errorf("%s: %v, lost: %t, want it restored", name, err, kept.Lost())
		}
		if version, ok := Ping(kept.Socket); !ok || version != "1" {
			t.Errorf("%s: %q %t, want an answer", name, version, ok)
		}
	}
}

func makeFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRootlesskitHasNoPorts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	if err := serveRootlesskit(path); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	for at, want := range map[string]int{"/v1/info": 200, "/v1/ports": 404} {
		response, err := client.Get("http://rootlesskit" + at)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", at, response.StatusCode, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want a socket of root alone", info, err)
	}
}

func TestWithPath(t *testing.T) {
	env := []string{"A=b", "PATH=/bin:/sbin"}
	if got := withPath(env, "/ours"); !slices.Equal(got, []string{"A=b", "PATH=/ours:/bin:/sbin"}) || env[1] != "PATH=/bin:/sbin" {
		t.Errorf("got %v from %v", got, env)
	}
}

func TestFoldersOfDockerd(t *testing.T) {
	for chosen, want := range map[string]string{
		"/usr/sbin/iptables-legacy": "/usr/lib/runnerctl/dockerd:/usr/lib/runnerctl/iptables",
		"/usr/sbin/iptables-nft":    "/usr/lib/runnerctl/dockerd",
		"":                          "/usr/lib/runnerctl/dockerd", // no alternatives
	} {
		if got := dockerdFolders(chosen); got != want {
			t.Errorf("%q: %s, want %s", chosen, got, want)
		}
	}
}

// reaper is the only one of the test program.
var reaper = sync.OnceValue(func() *process.Reaper {
	r, err := process.NewReaper()
	if err != nil {
		panic(err)
	}
	return r
})

func TestRulesAreTried(t *testing.T) {
	d := Daemons{Reaper: reaper(), Env: os.Environ()}
	if !d.tries("sh", "-c", `[ "$(head -n 1)" = "*nat" ]`) {
		t.Error("the rules did not arrive")
	}
	if d.tries("false") || d.tries("/nosuch") {
		t.Error("a program that fails was taken as a success")
	}
}
