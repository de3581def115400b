//go:build linux

package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// backlog is the number of clients that may wait; the kernel's limit is lower or the same.
const backlog = 4096

// refusalLimit bounds the wait for answers of Refuse that are on their way.
const refusalLimit = time.Second

// Listener is dockerd's socket, opened by the machine before dockerd starts. It implements
// services.Demand and services.Socket.
type Listener struct {
	Kept
	client   string // Docker's command line, whose start also wakes the daemons
	mutex    sync.Mutex
	file     *os.File // nil: dockerd listens on its own
	refusals *http.Server
}

func (l *Listener) opened() *os.File {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.file
}

// Listen opens the socket for a group's members. Client is the path of Docker's command line.
func Listen(kept Kept, client string, gid int) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), kept.Socket)
	_ = os.Remove(kept.Socket) // of an earlier start
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: kept.Socket})
	if err == nil {
		err = errors.Join(os.Chown(kept.Socket, 0, gid), os.Chmod(kept.Socket, 0o660), unix.Listen(fd, backlog), kept.Keep())
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("listen on %s: %w", kept.Socket, err)
	}
	return &Listener{Kept: kept, client: client, file: file}, nil
}

// Await implements services.Demand. A connection stays in the backlog for dockerd. It also returns
// when Docker's command line starts: until that connects, a tenth of the daemon's start is over.
func (l *Listener) Await() {
	waiting := []unix.PollFd{{Fd: int32(l.opened().Fd()), Events: unix.POLLIN}}
	if opens, err := watchOpens(l.client); err == nil {
		defer unix.Close(opens)
		waiting = append(waiting, unix.PollFd{Fd: int32(opens), Events: unix.POLLIN})
	}
	for {
		if n, err := unix.Poll(waiting, -1); n > 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}

// watchOpens returns a descriptor that is readable once a file was opened.
func watchOpens(path string) (fd int, err error) {
	fd, err = unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("inotify_add_watch", err)
	}
	return fd, nil
}

// Refuse implements services.Demand.
func (l *Listener) Refuse(reason string) {
	l.Hold()
	file := l.opened()
	if file == nil {
		return
	}
	listener, err := net.FileListener(file)
	if err != nil {
		return
	}
	body, _ := json.Marshal(map[string]string{"message": reason}) // the form of dockerd's errors
	l.refusals = &http.Server{ReadHeaderTimeout: answerLimit, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(body)
	})}
	go func(server *http.Server) { _ = server.Serve(listener) }(l.refusals)
}

// Hold implements services.Demand.
func (l *Listener) Hold() {
	if l.refusals == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), refusalLimit)
	defer cancel()
	if l.refusals.Shutdown(ctx) != nil {
		_ = l.refusals.Close()
	}
	l.refusals = nil
}

// Keep implements services.Socket.
func (l *Listener) Keep() error {
	if l.opened() != nil {
		return nil
	}
	return l.Kept.Keep()
}

// release lets dockerd listen on its own, because its settings name other sockets. Clients that
// wait are disconnected.
func (l *Listener) release() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
		_ = os.Remove(l.Socket)
	}
}

// Used implements services.Demand. A daemon that listens on its own counts as used: it can't be
// started again by a client.
func (l *Listener) Used() bool {
	if l.opened() == nil {
		return true
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	return err != nil || connections(string(sockets), l.Socket) > 0 || l.runs()
}

// connections counts the connected sockets of a path in /proc/net/unix, also those that nobody
// has accepted yet.
func connections(table, path string) (count int) {
	const state, name, listens = 5, 7, "01"
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) > name && fields[state] != listens && fields[name] == path {
			count++
		}
	}
	return count
}

// runs reports whether dockerd has a running container. Without an answer, it may have one.
func (l *Listener) runs() bool {
	response, err := ask(l.Socket, http.MethodGet, "/containers/json?limit=1")
	if err != nil {
		return true
	}
	defer response.Body.Close()
	var running []json.RawMessage
	return response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&running) != nil || len(running) > 0
}

// answerLimit is the time for an answer of dockerd.
const answerLimit = 5 * time.Second

// ask sends dockerd a request without a body.
func ask(socket, method, path string) (*http.Response, error) {
	connection, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	_ = connection.SetDeadline(time.Now().Add(answerLimit))
	response, err := Ask(connection, method, path, maxAnswer)
	if err != nil {
		connection.Close()
		return nil, err
	}
	response.Body = answerBody{response.Body, connection}
	return response, nil
}

// Ask sends a request without a body over a connection to dockerd. A job may listen there, so the
// answer's length has a limit, in bytes.
func Ask(connection net.Conn, method, path string, limit int64) (*http.Response, error) {
	request, err := http.NewRequest(method, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	return send(connection, request, limit)
}

// send is Ask for any request.
func send(connection net.Conn, request *http.Request, limit int64) (*http.Response, error) {
	request.Close = true
	if err := request.Write(connection); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(io.LimitReader(connection, limit)), request)
}

// Version returns the version of the dockerd that gave an answer.
func Version(answer *http.Response) (version string, ok bool) {
	version, ok = strings.CutPrefix(answer.Header.Get("Server"), "Docker/")
	version, _, _ = strings.Cut(version, " ")
	return version, ok
}

// answerBody closes the connection with the body.
type answerBody struct {
	io.ReadCloser
	connection net.Conn
}

func (b answerBody) Close() error { return errors.Join(b.ReadCloser.Close(), b.connection.Close()) }

// activate hands descriptor 3 over to a daemon: as sd_listen_fds(3) says, the daemon's own PID is in
// its environment. A shell starts faster than this program.
const activate = `export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@"`
