//go:build linux

package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// drainLimit is how long a client waits for more of a terminal's output after the command's end,
// since a process in the background may keep it open.
const drainLimit = 100 * time.Millisecond

// statusLimit is the time for a report; dockerd itself has 5 seconds for each of two answers.
const statusLimit = 12 * time.Second

// ErrSilent means that the machine's init does not answer.
var ErrSilent = errors.New("the machine's init does not answer")

// Client sends requests to a machine.
type Client struct {
	Socket        string // path
	In, Out, Errs *os.File
}

// Ask sends a request without descriptors and returns the answer.
func (c Client) Ask(request Request) (Answer, error) {
	server, err := dial(c.Socket)
	if err != nil {
		return Answer{}, err
	}
	defer server.Close()
	var answer Answer
	if request.Kind == Status {
		_ = server.SetDeadline(time.Now().Add(statusLimit))
	}
	if err := server.send(request); err != nil {
		return answer, err
	}
	if err := server.receive(&answer); errors.Is(err, os.ErrDeadlineExceeded) {
		return answer, ErrSilent
	} else if err != nil {
		return answer, fmt.Errorf("the machine ended: %w", err)
	}
	return answer, nil
}

// Exec runs a command and returns its exit code. A signal to this process ends the command,
// since the init sees the connection close. The request's size counts only while this process's
// terminal has none.
func (c Client) Exec(request Request) (code int, err error) {
	server, err := dial(c.Socket)
	if err != nil {
		return NotUp, err
	}
	defer server.Close()
	files := []*os.File{c.In, c.Out, c.Errs}
	if request.Terminal {
		files = nil
		if rows, columns := size(c.In); rows > 0 {
			request.Rows, request.Columns = rows, columns
		}
	}
	if err := server.send(request, files...); err != nil {
		return NotUp, err
	}
	var answer Answer
	if err := server.receive(&answer); err != nil {
		return NotUp, errors.New("the machine ended")
	}
	if answer.Terminal && len(server.files) == 1 {
		return c.attend(server)
	}
	return answer.Code, failure(answer)
}

func failure(answer Answer) error {
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

// attend connects this process's terminal with the command's until the command ends.
func (c Client) attend(server *peer) (code int, err error) {
	terminal := server.files[0]
	if restore, err := makeRaw(c.In); err == nil { // otherwise it is not a terminal
		defer restore()
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	go func() {
		for range resized {
			if rows, columns := size(c.In); rows > 0 {
				_ = resize(terminal, rows, columns)
			}
		}
	}()
	resized <- unix.SIGWINCH // the size may have changed since the request
	go func() { _, _ = io.Copy(terminal, c.In) }()
	shown := make(chan struct{})
	output := &counter{to: c.Out}
	go func() {
		defer close(shown)
		_, _ = io.Copy(output, terminal) // ends with EIO when no process has it open
	}()
	var answer Answer
	if err := server.receive(&answer); err != nil {
		return NotUp, errors.New("the machine ended")
	}
	output.drain(shown)
	return answer.Code, failure(answer)
}

// counter counts the bytes that it passes on.
type counter struct {
	to      io.Writer
	passed  atomic.Int64
	writing atomic.Bool
}

func (c *counter) Write(text []byte) (int, error) {
	c.writing.Store(true)
	defer c.writing.Store(false)
	n, err := c.to.Write(text)
	c.passed.Add(int64(n))
	return n, err
}

// drain waits for the end of the output, or until nothing came for a while.
func (c *counter) drain(ended <-chan struct{}) {
	for last := int64(-1); ; {
		select {
		case <-ended:
			return
		case <-time.After(drainLimit):
		}
		now := c.passed.Load()
		if now == last && !c.writing.Load() {
			return
		}
		last = now
	}
}
