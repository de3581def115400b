//go:build linux

// The program prints "bench: ready" when an inner Docker daemon answers /_ping, or when a runner's
// machine reports that jobs may begin, although its daemon has not started. It runs in the outer
// container of any side, as its user, and finds the socket through any process there, so that the
// method is the same for all sides.
//
// ready PAUSE docker|machine checks at every PAUSE, like 10ms, without starting a process.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// check is a question to a server at one of several places, and its good answer.
type check struct {
	places   []string
	question string
	good     *regexp.Regexp
}

var checks = map[string]check{
	"docker":  {[]string{"run/docker.sock", "run/user/1001/docker.sock"}, "GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n", regexp.MustCompile(`^HTTP/1\.\d 200 `)},
	"machine": {[]string{"run/user/1001/control.sock"}, "{\"kind\":\"status\"}\n", regexp.MustCompile(`"starting":0\b`)},
}

func main() {
	runtime.GOMAXPROCS(1) // it must not compete with the start that it watches
	if len(os.Args) != 3 {
		fail("usage: ready PAUSE docker|machine")
	}
	pause, err := time.ParseDuration(os.Args[1])
	if err != nil {
		fail(err)
	}
	wanted, known := checks[os.Args[2]]
	if !known {
		fail("unknown question " + os.Args[2])
	}
	for !wanted.ready() {
		time.Sleep(pause)
	}
	fmt.Println("bench: ready")
}

func fail(problem any) {
	fmt.Fprintln(os.Stderr, "bench:", problem)
	os.Exit(2)
}

// ready asks the first server that accepts a connection.
func (c check) ready() bool {
	processes, _ := filepath.Glob("/proc/[0-9]*/root") // the pattern is valid
	for _, root := range processes {
		for _, place := range c.places {
			if answer, connected := ask(filepath.Join(root, place), c.question); connected {
				return c.good.Match(answer)
			}
		}
	}
	return false
}

func ask(path, question string) (answer []byte, connected bool) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer unix.Close(fd)
	if unix.Connect(fd, &unix.SockaddrUnix{Name: path}) != nil {
		return nil, false
	}
	_, _ = unix.Write(fd, []byte(question)) // a failure shows in the answer
	answer = make([]byte, 4096)
	n, _ := unix.Read(fd, answer)
	return answer[:max(n, 0)], n > 0
}
