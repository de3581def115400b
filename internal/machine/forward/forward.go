//go:build linux

// Package forward connects jobs with the cache of their host: from an address in the machine's
// network to a Unix socket outside the machine. The transfer does not pass the network's driver,
// and nothing in the machine changes when the cache is replaced. It imports no package of
// runnerctl.
package forward

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headerLimit = 10 * time.Second
	// askPause is the time between two looks whether the cache answers.
	askPause = 5 * time.Second
)

// Cache is the folder of a cache's socket. It stays reachable after a pivot.
type Cache struct {
	folder *os.File
	name   string
	runner string
	count  atomic.Int64 // of connections
}

// Open opens the folder of a socket, which does not need to exist yet. The cache counts its use by a
// runner's name.
func Open(socket, runner string) (*Cache, error) {
	fd, err := unix.Open(filepath.Dir(socket), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("folder of the cache: %w", err)
	}
	return &Cache{folder: os.NewFile(uintptr(fd), "cache"), name: filepath.Base(socket), runner: runner}, nil
}

func (c *Cache) dial() (net.Conn, error) {
	to := &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/%s", c.folder.Fd(), c.name)}
	// An abstract address, which has no file, names the runner.
	own := &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@%s/%d", c.runner, c.count.Add(1))}
	connection, err := net.DialUnix("unix", own, to)
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EINVAL) { // a job can take the address
		return net.DialUnix("unix", nil, to)
	}
	return connection, err
}

// Answers reports whether the cache accepts connections.
func (c *Cache) Answers() bool {
	to, err := c.dial()
	if err != nil {
		return false
	}
	_ = to.Close()
	return true
}

// Serve connects clients with the cache until the listener is closed.
func (c *Cache) Serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files: some will be closed
			time.Sleep(time.Second)
			continue
		}
		go c.connect(client)
	}
}

// connect joins a client with the cache, in both directions.
func (c *Cache) connect(client net.Conn) {
	defer func() { _ = client.Close() }()
	cache, err := c.dial()
	if err != nil {
		absent(client)
		return
	}
	defer func() { _ = cache.Close() }()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		transfer(cache, client)
	}()
	transfer(client, cache)
	<-sent
}

// transfer copies one direction to its end. After an error, both directions end.
func transfer(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		_ = from.Close()
		return
	}
	if half, can := to.(interface{ CloseWrite() error }); can {
		_ = half.CloseWrite() // it fails if the other side has gone
	}
}

// absent answers a request in place of the cache. Clients of GitHub's other services repeat it, and the
// cache may be there again by then. No other client does: a client of a mirror continues with the registry
// itself.
func absent(client net.Conn) {
	_ = client.SetDeadline(time.Now().Add(headerLimit))
	request, err := http.ReadRequest(bufio.NewReader(client))
	if err != nil {
		return
	}
	status := "404 Not Found"
	if strings.HasPrefix(request.URL.Path, "/twirp/") && !strings.Contains(request.URL.Path, ".CacheService/") {
		status = "503 Service Unavailable"
	}
	_, _ = io.WriteString(client, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") // the client has gone
	if half, can := client.(interface{ CloseWrite() error }); can {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, request.Body) // else the client would lose the answer
}

// File is a file that actions read at their start. It stays open, because a job may put another one
// in its place.
type File interface {
	io.WriterAt
	Truncate(size int64) error
}

// OpenFile opens the file for Announce, which the image has. In a runner that is started again, a job
// may have replaced it: then it is not used.
func OpenFile(path string) (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file := os.NewFile(uintptr(fd), path)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Nlink != 1 || stat.Uid != 0 {
		_ = file.Close()
		return nil, fmt.Errorf("%s was replaced", path)
	}
	return file, nil
}

// Announce keeps the cache's URL in a file while the cache answers, until stop is closed. Otherwise
// the file is empty.
func (c *Cache) Announce(file File, url string, stop <-chan struct{}) {
	text := "not known" // the file may be from an earlier start
	for {
		wanted := ""
		if c.Answers() {
			wanted = url + "\n"
		}
		if wanted != text && file.Truncate(0) == nil {
			text = "not known"
			if _, err := file.WriteAt([]byte(wanted), 0); err == nil {
				text = wanted
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(askPause):
		}
	}
}
