//go:build linux

package status

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine"
)

func TestParseStat(t *testing.T) {
	for text, want := range map[string]process{
		"1 (init) S 0 1":          {name: "init", state: "S"},
		"7 (a) b (c)) R 1 7":      {name: "a) b (c)", state: "R"},
		"8 (Runner.Listener) Z 1": {name: "Runner.Listener", state: "Z"},
	} {
		if got, ok := parseStat(text); !ok || got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{"", "1 init S", "1 (init", "1 (init) ", ") ("} {
		if got, ok := parseStat(text); ok {
			t.Errorf("%q: got %+v, want nothing", text, got)
		}
	}
}

func TestProcessesOfJobs(t *testing.T) {
	all := []process{
		{"Runner.Listener", "S", 1001}, {"Runner.Worker", "S", 1001}, {"sh", "Z", 1001}, {"sleep", "D", 1001}, {"dockerd", "S", 1001},
		{"dockerd", "T", 0}, {"sleep", "S", 0},
	}
	if got := jobs(all); got != 3 {
		t.Errorf("%d processes, want the worker, the sleep and the job's own dockerd", got)
	}
	if got := state(all); got != "T" {
		t.Errorf("dockerd's state %q, want T", got)
	}
	if got := state(nil); got != "" {
		t.Errorf("dockerd's state %q, want none", got)
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct{ problem, dockerd, want string }{
		{"", "S", ""},
		{notRunning, "", "dockerd is started again"},
		{notRunning, "S", notRunning},
		{silent, "T", "dockerd is stopped by a signal"},
		{silent, "S", "dockerd did not answer within 5s"},
	} {
		if got := explain(test.problem, test.dockerd); got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.problem, test.dockerd, got, test.want)
		}
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// here is this machine, with a user runner whose home is there or not.
func here(t *testing.T, home string, handler http.HandlerFunc) Machine {
	t.Helper()
	enginetest.NeedRoot(t, "a question with the rights of the user runner", "sh")
	root := t.TempDir()
	for folder := root; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("runner:x:1001:1001::"+home+":/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := Machine{Root: root, Proc: open(t, "/proc"), Data: open(t, root), Net: "/sys/class/net", Socket: filepath.Join(root, "docker.sock")}
	if handler == nil {
		return m
	}
	listener, err := net.Listen("unix", m.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(m.Socket, 0o666); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return m
}

func dockerd(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "Docker/28.0.1 (linux)")
	switch r.URL.Path {
	case "/containers/json":
		if r.URL.Query().Get("filters") == `{"status":["running"]}` {
			_, _ = w.Write([]byte(`[{"Id":"one"}]`))
		}
	case "/info":
		_, _ = w.Write([]byte(`{"Driver":"overlay2"}`))
	}
}

func TestReport(t *testing.T) {
	m := here(t, "/", dockerd)
	services := Services{Ready: true, Waiting: true, Restarts: []machine.Moment{{Name: "dockerd"}}}
	got := m.Report(services, false)
	if got.Version != "28.0.1" || got.Containers != 1 || got.Restarts != 1 || got.Waiting != 1 || got.Starting != 0 || got.Problem != "" || got.DiskFree <= 0 || got.Details != nil {
		t.Errorf("got %+v", got)
	}
	if got := m.Report(services, true).Details; got == nil || len(got.UIDs) == 0 || got.MTUs["lo"] == 0 || got.Daemon.Driver != "overlay2" {
		t.Errorf("got %+v, want uids, mtus and the daemon's description", got)
	}
	if os.Getuid() != 0 {
		t.Error("this process lost its rights")
	}
	if got := m.Report(Services{}, false); got.Starting != 1 || got.Version != "" || got.Problem != "" {
		t.Errorf("got %+v, want a machine that starts", got)
	}
}

func TestProblems(t *testing.T) {
	for name, test := range map[string]struct {
		home    string
		handler http.HandlerFunc
		change  func(Machine) error
		want    string
	}{
		"no socket":                {"/", nil, nil, "docker.sock is gone"},
		"a socket of root alone":   {"/", dockerd, func(m Machine) error { return os.Chmod(m.Socket, 0o600) }, "the user runner may not use"},
		"nobody listens":           {"/", nil, silentSocket, notRunning},
		"an error":                 {"/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, nil, "dockerd answers 500 Internal Server Error"},
		"no home":                  {"/nosuch", dockerd, nil, "the user runner has no home"},
		"a home of somebody else":  {"/root/inside", dockerd, nil, "the user runner may not enter /root/inside"},
		"a home that is a file":    {"/etc/passwd", dockerd, nil, "is not a folder"},
		"no user":                  {"/", dockerd, func(m Machine) error { return os.Remove(m.Root + "/etc/passwd") }, "/etc/passwd has no user runner"},
		"a connection that closes": {"/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, "dockerd answers nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			m := here(t, test.home, test.handler)
			if test.change != nil {
				if err := test.change(m); err != nil {
					t.Fatal(err)
				}
			}
			if got := m.Report(Services{Ready: true}, false).Problem; !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// silentSocket leaves a socket behind on which nobody listens.
func silentSocket(m Machine) error {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(m.Socket, 0o666); err != nil {
		return err
	}
	return listener.Close()
}

func TestDaemonThatDoesNotAnswer(t *testing.T) {
	m := here(t, "/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	m.Patience = 50 * time.Millisecond
	if got := m.Report(Services{Ready: true}, false).Problem; got != silent {
		t.Errorf("got %q, want %q", got, silent)
	}
}
