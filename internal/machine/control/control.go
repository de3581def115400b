//go:build linux

// Package control carries commands from outside into the machine: a client in the outer tree,
// started by the engine's exec, hands its descriptors to the machine's init, which makes the
// process. No file and no program of the job's takes part. It imports only the machine's users
// and processes.
package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// SocketName is the name of the socket in the outer runtime folder, which no job reaches.
const SocketName = "control.sock"

// Exit codes of a client, besides those of its command.
const (
	NotUp         = 125 // the machine is not up, or can't start the command
	NotExecutable = 126
	NotFound      = 127
)

// Kind is the kind of a request.
type Kind string

// Kinds of requests.
const (
	Exec      Kind = "exec"      // run a command
	Interrupt Kind = "interrupt" // end the command with ID
	Status    Kind = "status"
	Wait      Kind = "wait" // until jobs may begin
)

// Request is the first message of a client. Its descriptors go with it.
type Request struct {
	Kind Kind     `json:"kind"`
	ID   string   `json:"id,omitempty"` // lets a later request interrupt this command
	Args []string `json:"args,omitempty"`
	Root bool     `json:"root,omitempty"`
	// A command with a terminal gets one of the machine's own.
	Terminal bool   `json:"terminal,omitempty"`
	Rows     uint16 `json:"rows,omitempty"`
	Columns  uint16 `json:"columns,omitempty"`
	Term     string `json:"term,omitempty"` // the variable TERM
	Details  bool   `json:"details,omitempty"`
}

// Answer is a message of the init. Terminal says that the terminal's other end goes with it;
// more answers follow.
type Answer struct {
	Terminal bool            `json:"terminal,omitempty"`
	Code     int             `json:"code"`
	Error    string          `json:"error,omitempty"`
	Version  string          `json:"version,omitempty"` // of the daemon, for Wait
	Status   json.RawMessage `json:"status,omitempty"`
}

// maxMessage limits a message in bytes: the kernel's limit for arguments is 2 MiB.
const maxMessage = 8 << 20

// peer is one end of a connection.
type peer struct {
	*net.UnixConn
	buffer *bufio.Reader
	files  []*os.File // that came with the messages
}

func newPeer(connection *net.UnixConn) *peer {
	p := &peer{UnixConn: connection}
	p.buffer = bufio.NewReader(io.LimitReader(receiver{p}, maxMessage))
	return p
}

// receiver reads text and keeps descriptors.
type receiver struct{ *peer }

func (r receiver) Read(text []byte) (int, error) {
	space := make([]byte, unix.CmsgSpace(4*4))
	n, control, _, _, err := r.ReadMsgUnix(text, space)
	n = max(n, 0) // -1 with an error
	if control > 0 {
		if failed := r.keep(space[:control]); failed != nil {
			return 0, failed
		}
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (r receiver) keep(control []byte) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return err
	}
	for _, message := range messages {
		numbers, err := unix.ParseUnixRights(&message)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			unix.CloseOnExec(number)
			r.files = append(r.files, os.NewFile(uintptr(number), "received"))
		}
	}
	return nil
}

// send sends a message, with descriptors.
func (p *peer) send(message any, files ...*os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	var numbers []int
	for _, file := range files {
		numbers = append(numbers, int(file.Fd()))
	}
	var rights []byte
	if len(numbers) > 0 {
		rights = unix.UnixRights(numbers...)
	}
	text = append(text, '\n')
	n, _, err := p.WriteMsgUnix(text, rights, nil)
	if err != nil || n == len(text) { // the other side may have answered and gone by now
		return err
	}
	_, err = p.Write(text[n:])
	return err
}

// receive reads a message.
func (p *peer) receive(message any) error {
	line, err := p.buffer.ReadBytes('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return json.Unmarshal(line, message)
}

// drop closes the received descriptors.
func (p *peer) drop() {
	for _, file := range p.files {
		_ = file.Close()
	}
	p.files = nil
}

// ErrNotUp means that there is no machine yet.
var ErrNotUp = errors.New("this runner's machine is not up yet")

func dial(path string) (*peer, error) {
	connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
			return nil, ErrNotUp
		}
		return nil, err
	}
	return newPeer(connection), nil
}
