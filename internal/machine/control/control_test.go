//go:build linux

package control

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine/process"
)

var reaper = sync.OnceValue(func() *process.Reaper {
	r, err := process.NewReaper()
	if err != nil {
		panic(err)
	}
	return r
})

// serve starts a server whose machine is this one, with files of its own for users. It needs
// root, to become the user runner.
func serve(t *testing.T, change func(*Server)) Client {
	t.Helper()
	enginetest.NeedRoot(t, "a command of another user", "sh")
	root := t.TempDir()
	home := filepath.Join(root, "home")
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for folder := root; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"passwd":      "root:x:0:0:root:/root:/bin/bash\nrunner:x:1001:1001::" + home + ":/bin/bash\n",
		"group":       "docker:x:998:runner\n",
		"environment": "LANG=C.UTF-8\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	terminals, err := OpenTerminals("/dev/pts")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), SocketName)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Reaper: reaper(), Root: root, Base: []string{"https_proxy=http://proxy"}, Settings: []string{"OWN=value"}, Terminals: terminals}
	if change != nil {
		change(server)
	}
	go server.Serve(listener)
	t.Cleanup(func() { _ = listener.Close() })
	return Client{Socket: path}
}

// result is the output of a command, and its code.
type result struct {
	code     int
	out, err string
	failed   error
}

// run runs a command with a text as its standard input.
func run(t *testing.T, client Client, input string, request Request) result {
	t.Helper()
	request.Kind = Exec
	folder := t.TempDir()
	open := func(name, text string) *os.File {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	client.In, client.Out, client.Errs = open("in", input), open("out", ""), open("errs", "")
	var got result
	got.code, got.failed = client.Exec(request)
	for name, text := range map[string]*string{"out": &got.out, "errs": &got.err} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		*text = string(content)
	}
	return got
}

func TestExec(t *testing.T) {
	client := serve(t, nil)
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	for _, test := range []struct {
		name    string
		request Request
		input   string
		want    result
	}{
		{"code and streams", Request{Args: sh("cat; echo bad >&2; exit 7")}, "typed", result{7, "typed", "bad\n", nil}},
		{"as runner", Request{Args: sh("id -u; id -G")}, "", result{0, "1001\n1001 998\n", "", nil}},
		{"as root", Request{Args: sh("id -u; id -G; pwd"), Root: true}, "", result{0, "0\n0\n/root\n", "", nil}},
		{"environment of jobs", Request{Args: sh(`echo $USER $LANG $OWN $https_proxy; [ "$HOME" = "$(pwd)" ]`)}, "", result{0, "runner C.UTF-8 value http://proxy\n", "", nil}},
		{"a signal", Request{Args: sh("kill -9 $$")}, "", result{137, "", "", nil}},
		{"a large argument", Request{Args: []string{"sh", "-c", "echo ${#0}", strings.Repeat("x", 100_000)}}, "", result{0, "100000\n", "", nil}},
	} {
		if got := run(t, client, test.input, test.request); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no command":     {nil, 2, "no command"},
		"not found":      {[]string{"no-such-program"}, NotFound, "no-such-program"},
		"not executable": {[]string{"/etc/passwd"}, NotExecutable, "/etc/passwd: permission denied"},
	} {
		if got := run(t, client, "", Request{Args: test.args}); got.code != test.code || got.failed == nil || !strings.Contains(got.failed.Error(), test.want) {
			t.Errorf("%s: got %+v, want code %d and %q", name, got, test.code, test.want)
		}
	}
}

// A user who has no home, or may not enter it, starts in /.
func TestExecWithoutAHome(t *testing.T) {
	client := serve(t, func(s *Server) {
		if err := os.RemoveAll(filepath.Join(s.Root, "home")); err != nil {
			t.Fatal(err)
		}
	})
	if got := run(t, client, "", Request{Args: []string{"pwd"}}); got.out != "/\n" || got.code != 0 {
		t.Errorf("got %+v, want /", got)
	}
}

// lives reports whether a process runs whose command line is a sleep of so many seconds.
func lives(t *testing.T, seconds string) bool {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if text, _ := os.ReadFile(path); string(text) == "sleep\x00"+seconds+"\x00" {
			return true
		}
	}
	return false
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// All processes of a command end if a request says so, or if its client ends.
func TestCommandsAreInterrupted(t *testing.T) {
	client := serve(t, nil)
	for name, test := range map[string]struct {
		seconds string
		stop    func(*peer)
	}{
		"by a request": {"1000001", func(*peer) {
			if answer, err := client.Ask(Request{Kind: Interrupt, ID: "A1"}); err != nil || answer.Code != 0 {
				t.Errorf("got %+v, %v, want code 0", answer, err)
			}
		}},
		"by the client's end": {"1000002", func(p *peer) { p.Close() }},
	} {
		server, err := dial(client.Socket)
		if err != nil {
			t.Fatal(err)
		}
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.send(Request{Kind: Exec, ID: "A1", Args: []string{"sh", "-c", "sleep " + test.seconds + " & wait"}}, null, null, null); err != nil {
			t.Fatal(err)
		}
		await(t, "the command runs", func() bool { return lives(t, test.seconds) })
		test.stop(server)
		await(t, name+": the command ends", func() bool { return !lives(t, test.seconds) })
		server.Close()
	}
	await(t, "the id is forgotten", func() bool {
		answer, err := client.Ask(Request{Kind: Interrupt, ID: "A1"})
		return err == nil && answer.Code == 1
	})
}

func TestWaitAndStatus(t *testing.T) {
	ready := make(chan struct{})
	client := serve(t, func(s *Server) {
		s.Ready, s.Version = ready, func() string { return "28.0.1" }
		s.Status = func(details bool) any { return map[string]bool{"details": details} }
	})
	answered := make(chan Answer, 1)
	go func() {
		answer, _ := client.Ask(Request{Kind: Wait})
		answered <- answer
	}()
	select {
	case answer := <-answered:
		t.Errorf("answered before it was ready: %+v", answer)
	case <-time.After(50 * time.Millisecond):
	}
	close(ready)
	if answer := <-answered; answer.Version != "28.0.1" {
		t.Errorf("got %+v, want the version", answer)
	}
	if answer, err := client.Ask(Request{Kind: Status, Details: true}); err != nil || string(answer.Status) != `{"details":true}` {
		t.Errorf("got %s, %v, want the document", answer.Status, err)
	}
	if answer, err := client.Ask(Request{Kind: "dance"}); err != nil || answer.Error == "" {
		t.Errorf("got %+v, %v, want an error", answer, err)
	}
	if _, err := (Client{Socket: "/nosuch"}).Ask(Request{Kind: Wait}); err == nil || err.Error() != "this runner's machine is not up yet" {
		t.Errorf("got %v, want that the machine is not up", err)
	}
}

// A command on a terminal gets one of the machine's own: it has a name, a size that changes,
// and job control. The engine sets its terminal's size only after the command has begun.
func TestTerminal(t *testing.T) {
	client := serve(t, nil)
	terminals, err := OpenTerminals("/dev/pts")
	if err != nil {
		t.Fatal(err)
	}
	outside, own, err := terminals.open(0, 0, 0) // stands for the engine's
	if err != nil {
		t.Fatal(err)
	}
	client.In, client.Out, client.Errs = own, own, own
	ended := make(chan result, 1)
	go func() {
		code, err := client.Exec(Request{Kind: Exec, Terminal: true, Rows: 33, Columns: 101, Term: "xterm", Args: []string{"sh", "-c",
			`tty; stat -c %U:%g $(tty); stty size; echo $TERM; trap 'stty size; exit 7' WINCH; echo waiting; while :; do sleep 0.05; done`}})
		ended <- result{code: code, failed: err}
	}()
	shown := new(strings.Builder)
	var mutex sync.Mutex
	go func() {
		buffer := make([]byte, 1024)
		for {
			n, err := outside.Read(buffer)
			mutex.Lock()
			shown.Write(buffer[:n])
			mutex.Unlock()
			if err != nil {
				return
			}
		}
	}()
	has := func(text string) func() bool {
		return func() bool {
			mutex.Lock()
			defer mutex.Unlock()
			return strings.Contains(shown.String(), text)
		}
	}
	await(t, "the command waits", has("waiting"))
	for _, want := range []string{"/dev/pts/", ":5\r\n", "33 101\r\n", "xterm\r\n"} {
		if !has(want)() {
			t.Errorf("no %q in %q", want, shown)
		}
	}
	if err := resize(outside, 20, 40); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil { // the kernel sends it to the session of the terminal
		t.Fatal(err)
	}
	if got := <-ended; got.code != 7 || got.failed != nil {
		t.Errorf("got %+v, want code 7", got)
	}
	await(t, "the new size is shown", has("20 40\r\n"))
}

// A client that sends nothing, or something else, is dropped and changes nothing.
func TestBrokenClients(t *testing.T) {
	client := serve(t, nil)
	for _, text := range []string{"", "{", "not JSON\n"} {
		connection, err := net.Dial("unix", client.Socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(connection, text); err != nil {
			t.Fatal(err)
		}
		connection.Close()
	}
	if got := run(t, client, "", Request{Args: []string{"true"}}); got.code != 0 || got.failed != nil {
		t.Errorf("got %+v, want code 0", got)
	}
}
