//go:build linux

package services

import (
	"bytes"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longestLine is the length in bytes at which a line without an end is written all the same.
const longestLine = 64 << 10

// flushLimit bounds the wait of Flush for output that was already written.
const flushLimit = 200 * time.Millisecond

// Log is the runner's log: whole lines, each with its source.
type Log struct {
	mutex sync.Mutex
	out   io.Writer
}

// NewLog writes to out.
func NewLog(out io.Writer) *Log { return &Log{out: out} }

// Say writes a line of the source.
func (l *Log) Say(source, text string) { l.write([]byte(source + ": " + text + "\n")) }

func (l *Log) write(lines []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_, _ = l.out.Write(lines) // a log that can't be written must not end the runner
}

// Output is a pipe for the output of a service. It outlives the service's processes, so that
// its remaining children, like containerd's shims, can still write.
type Output struct {
	// Write is the end for processes.
	Write *os.File

	log    *Log
	source string
	read   *os.File
	mutex  sync.Mutex
	rest   []byte // of an incomplete line
	last   []byte // the last whole line
}

// Output opens a pipe whose lines go to the log.
func (l *Log) Output(source string) (*Output, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &Output{Write: write, log: l, source: source, read: read}
	go o.forward()
	return o, nil
}

// forward reads until every process has closed the pipe. It keeps the lock from the moment when
// text leaves the pipe until it is added, so that Flush misses none.
func (o *Output) forward() {
	raw, err := o.read.SyscallConn()
	buffer := make([]byte, 4096)
	for ended := err != nil; !ended; {
		err := raw.Read(func(fd uintptr) (done bool) {
			o.mutex.Lock()
			defer o.mutex.Unlock()
			n, err := unix.Read(int(fd), buffer)
			if err == unix.EAGAIN || err == unix.EINTR {
				return false
			}
			o.add(buffer[:max(n, 0)])
			ended = n <= 0
			return true
		})
		ended = ended || err != nil
	}
}

// add writes whole lines, and keeps the rest. The caller holds the lock.
func (o *Output) add(text []byte) {
	lines, rest := split(append(o.rest, text...))
	o.rest = bytes.Clone(rest)
	var out []byte
	for _, line := range lines {
		out = append(out, o.source...)
		out = append(out, ": "...)
		out = append(out, line...)
		out = append(out, '\n')
	}
	if len(out) > 0 {
		o.log.write(out)
		o.last = bytes.Clone(lines[len(lines)-1])
	}
}

// Last returns the last line.
func (o *Output) Last() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return string(o.last)
}

// split separates lines without their ends from an incomplete one.
func split(text []byte) (lines [][]byte, rest []byte) {
	for {
		line, after, found := bytes.Cut(text, []byte("\n"))
		switch {
		case found:
			lines, text = append(lines, line), after
		case len(text) >= longestLine:
			return append(lines, text), nil
		default:
			return lines, text
		}
	}
}

// Flush waits until everything that was written is in the log, and writes an incomplete line.
func (o *Output) Flush() {
	raw, err := o.read.SyscallConn()
	if err != nil {
		return
	}
	for end := time.Now().Add(flushLimit); !o.flushed(raw) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// flushed writes an incomplete line if the pipe is empty.
func (o *Output) flushed(raw syscall.RawConn) (done bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	var left int
	var failed error
	if err := raw.Control(func(fd uintptr) { left, failed = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil || failed != nil {
		return true
	}
	if left > 0 {
		return false
	}
	if len(o.rest) > 0 {
		o.add([]byte("\n"))
	}
	return true
}
