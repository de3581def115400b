//go:build linux

// Package link connects the two parts of the runtime: PID 1 of the container, and the machine's
// init, which never gets a signal that it could miss. It imports only the machine's settings.
package link

import (
	"encoding/json"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
)

// Message is a message in one of the directions. Its zero fields say nothing.
type Message struct {
	// From the container's PID 1.
	Boot         *Boot `json:"boot,omitempty"` // the first message: the user namespace has its maps
	Stop         bool  `json:"stop,omitempty"`
	NetworkEnded bool  `json:"network_ended,omitempty"`

	// From the machine's init.
	Entered bool `json:"entered,omitempty"` // the job root filesystem is mounted
}

// Boot is everything that a machine needs for its start.
type Boot struct {
	Settings machine.Settings `json:"settings"`
	// Began is when the container's PID 1 began, in nanoseconds since 1970.
	Began int64 `json:"began"`
	// Runtime is the folder of the outer tree for the control socket.
	Runtime string `json:"runtime"`
}

// End is one end of the connection.
type End struct {
	file    *os.File
	mutex   sync.Mutex
	encoder *json.Encoder
	decoder *json.Decoder
}

// Pair returns both ends. The other one is for a child process.
func Pair() (own *End, other *os.File, err error) {
	numbers, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return New(os.NewFile(uintptr(numbers[0]), "link")), os.NewFile(uintptr(numbers[1]), "link"), nil
}

// New returns the end of a file.
func New(file *os.File) *End {
	return &End{file: file, encoder: json.NewEncoder(file), decoder: json.NewDecoder(file)}
}

// Send sends a message. It may be called by several goroutines.
func (e *End) Send(message Message) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.encoder.Encode(message)
}

// Receive waits for a message, and returns io.EOF when the other side has ended.
func (e *End) Receive() (message Message, err error) {
	err = e.decoder.Decode(&message)
	if err != nil && err != io.EOF { //nolint:errorlint // Decode returns it as it is
		err = io.ErrUnexpectedEOF
	}
	return message, err
}

// Close closes the end.
func (e *End) Close() error { return e.file.Close() }
