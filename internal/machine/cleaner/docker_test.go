//go:build linux

package cleaner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// engine is a dockerd with objects.
type engine struct {
	socket string

	mutex      sync.Mutex
	containers []string            // ids
	networks   map[string][]string // names, and the containers
	volumes    []string            // that no container uses
	busy       int                 // refusals to remove a container
	calls      []string
}

// serveAt answers at a socket until the test ends.
func serveAt(t *testing.T, handler http.Handler) (socket string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "clean") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(folder, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		os.RemoveAll(folder)
	})
	return socket
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := &engine{networks: map[string][]string{}}
	e.socket = serveAt(t, e)
	return e
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"message":%q}`, message)
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.calls = append(e.calls, r.Method+" "+r.URL.String())
	answer := func(value any) { _ = json.NewEncoder(w).Encode(value) }
	kind, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	filters := r.URL.Query().Get("filters")
	switch {
	case r.Method == http.MethodPost && r.URL.String() == "/swarm/leave?force=1":
		refuse(w, http.StatusServiceUnavailable, "This node is not part of a swarm")
	case r.Method == http.MethodGet && kind == "containers" && name == "json" && r.URL.Query().Get("all") == "1":
		all := []map[string]string{}
		for _, id := range e.containers {
			all = append(all, map[string]string{"Id": id})
		}
		answer(all)
	case r.Method == http.MethodGet && kind == "networks" && name == "" && filters == `{"type":["custom"]}`:
		all := []map[string]string{}
		for name := range e.networks {
			all = append(all, map[string]string{"Name": name, "Id": "id-" + name})
		}
		answer(all)
	case r.Method == http.MethodGet && kind == "networks":
		inside := map[string]any{}
		for _, id := range e.networks[strings.TrimPrefix(name, "id-")] {
			inside[id] = map[string]string{"Name": "x"}
		}
		answer(map[string]any{"Containers": inside})
	case r.Method == http.MethodGet && kind == "volumes" && filters == `{"dangling":["true"]}`:
		all := []map[string]string{}
		for _, name := range e.volumes {
			all = append(all, map[string]string{"Name": name})
		}
		answer(map[string]any{"Volumes": all, "Warnings": nil})
	case r.Method == http.MethodDelete && kind == "containers" && r.URL.RawQuery == "force=1&v=1" && e.busy > 0:
		e.busy--
		refuse(w, http.StatusConflict, "removal of container "+name+" is already in progress")
	case r.Method == http.MethodDelete && kind == "containers" && r.URL.RawQuery == "force=1&v=1":
		e.containers = slices.DeleteFunc(e.containers, func(id string) bool { return id == name })
		for network, inside := range e.networks {
			e.networks[network] = slices.DeleteFunc(slices.Clone(inside), func(id string) bool { return id == name })
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete && kind == "networks":
		network := strings.TrimPrefix(name, "id-")
		if len(e.networks[network]) > 0 {
			refuse(w, http.StatusForbidden, "error while removing network: network "+network+" has active endpoints")
			return
		}
		delete(e.networks, network)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete && kind == "volumes" && name != "gone":
		e.volumes = slices.DeleteFunc(e.volumes, func(volume string) bool { return volume == name })
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, http.StatusNotFound, "page not found")
	}
}

func TestObjectsOfJobs(t *testing.T) {
	e := newEngine(t)
	e.containers = []string{"own1", "left1", "own2", "left2"}
	e.networks = map[string][]string{"github_network_1": {"own1", "own2"}, "left": {"left1"}, "docker_gwbridge": nil, "my_github_network_": nil}
	e.volumes = []string{"left", "a b", "gone"}
	e.busy = 2
	if err := (daemon{socket: e.socket}).clean(); err != nil {
		t.Fatal(err)
	}
	e.volumes = slices.DeleteFunc(e.volumes, func(name string) bool { return name == "gone" })
	if !slices.Equal(e.containers, []string{"own1", "own2"}) || len(e.volumes) > 0 || len(e.networks) != 2 || len(e.networks["github_network_1"]) != 2 {
		t.Errorf("left are containers %q, networks %v, volumes %q, want those of the running job, and docker_gwbridge", e.containers, e.networks, e.volumes)
	}
	if !slices.Contains(e.calls, "DELETE /volumes/a%20b") {
		t.Errorf("calls %q", e.calls)
	}
}

func TestObjectsThatAreRefused(t *testing.T) {
	e := newEngine(t)
	e.containers, e.busy = []string{"left1", "left2"}, 1000
	err := (daemon{socket: e.socket}).clean()
	want := "Error response from daemon: removal of container left1 is already in progress\nError response from daemon: removal of container left2 is already in progress"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if tries := 1000 - e.busy; tries != 2*tidyTries {
		t.Errorf("%d calls, want %d", tries, 2*tidyTries)
	}
}

// A job may listen on the socket.
func TestAnswersThatAreNone(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"a wrong type": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"Id":1}`) },
		"an error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"silence":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := (daemon{socket: serveAt(t, handler)}).tidyOnce(ctx); err == nil || name == "silence" && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want an error", name, err)
		}
		cancel()
	}
	if err := (daemon{socket: "/nowhere/docker.sock"}).tidyOnce(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no socket", err)
	}
}

func TestLongAnswer(t *testing.T) {
	sent := make(chan int, 1)
	socket := serveAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		total, err := fmt.Fprint(w, `["`)
		for text := strings.Repeat("x", 1<<20); err == nil && total < 3*maxAnswer; total += len(text) {
			_, err = fmt.Fprint(w, text)
		}
		sent <- total
	}))
	if err := (daemon{socket: socket}).tidyOnce(t.Context()); err == nil {
		t.Error("no error, want one")
	}
	if total := <-sent; total > 2*maxAnswer {
		t.Errorf("%d bytes were read, want at most %d", total, maxAnswer)
	}
}

// swarmVariable makes the test program a dockerd with a swarm, at the socket that is the value.
const swarmVariable = "CLEANER_TEST_SWARM"

func TestMain(m *testing.M) {
	if socket := os.Getenv(swarmVariable); socket != "" {
		serveSwarm(socket)
	}
	os.Exit(m.Run())
}

func serveSwarm(socket string) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /swarm/leave", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("HEAD /_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "Docker/28.0.1 (linux)") })
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		time.Sleep(300 * time.Millisecond) // it goes on answering
		os.Exit(0)
	}()
	panic(http.Serve(listener, mux)) //nolint:gosec // of one test
}

func TestSwarm(t *testing.T) {
	folder, err := os.MkdirTemp("", "clean")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	d := daemon{socket: filepath.Join(folder, "docker.sock")}
	start := func() *exec.Cmd {
		_ = os.Remove(d.socket)
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), swarmVariable+"="+d.socket)
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := command.Start(); err != nil {
			t.Error(err)
		}
		return command
	}
	before := start()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if pid, err := d.listener(); err == nil && pid == before.Process.Pid {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not listen")
		}
	}
	// As the machine's init does.
	restarted := make(chan *exec.Cmd)
	go func() {
		_ = before.Wait()
		restarted <- start()
	}()
	err = d.leaveSwarm(t.Context())
	after := <-restarted
	if pid, listenErr := d.listener(); err != nil || listenErr != nil || pid != after.Process.Pid || !before.ProcessState.Success() {
		t.Errorf("%v, %v, before: %s", err, listenErr, before.ProcessState)
	}
	_ = after.Process.Kill()
	_ = after.Wait()
}

func TestNoSwarm(t *testing.T) {
	if err := (daemon{socket: newEngine(t).socket}).leaveSwarm(t.Context()); err != nil {
		t.Error(err)
	}
	other := serveAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusInternalServerError, "context deadline")
	}))
	if err := (daemon{socket: other}).leaveSwarm(t.Context()); err == nil || err.Error() != "Error response from daemon: context deadline" {
		t.Errorf("got %v, want dockerd's error", err)
	}
}
