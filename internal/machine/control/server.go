//go:build linux

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/process"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// killAfter is the time for an interrupted command to end.
const killAfter = 10 * time.Second

// acceptPause is the wait before another try after a connection that failed.
const acceptPause = 50 * time.Millisecond

// Server answers the clients of a machine.
type Server struct {
	Reaper    *process.Reaper
	Root      string   // of the machine's files
	Base      []string // the container's part of a command's environment
	Settings  []string // runners.env
	Terminals Terminals
	// Status returns the document for a status request.
	Status func(details bool) any
	// Ready is closed when jobs may begin; Version is the daemon's, after that.
	Ready   <-chan struct{}
	Version func() string

	mutex    sync.Mutex
	commands map[string]*command // by id
}

// command is a running command.
type command struct {
	process *process.Process // leads a process group
	killing sync.Once
}

// interrupt ends a command, at last by force.
func (c *command) interrupt() {
	c.killing.Do(func() {
		_ = c.process.SignalGroup(unix.SIGTERM)
		_ = c.process.SignalGroup(unix.SIGHUP) // an interactive shell ignores the other one
		go func() {
			select {
			case <-c.process.Done():
			case <-time.After(killAfter):
				_ = c.process.SignalGroup(unix.SIGKILL)
			}
		}()
	})
}

// Serve answers clients until the listener is closed.
func (s *Server) Serve(listener *net.UnixListener) {
	s.commands = map[string]*command{}
	for {
		connection, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, for example
			time.Sleep(acceptPause)
			continue
		}
		go s.answer(newPeer(connection))
	}
}

func (s *Server) answer(client *peer) {
	defer client.Close()
	defer client.drop()
	var request Request
	if client.receive(&request) != nil {
		return // the client has ended
	}
	var answer Answer
	switch request.Kind {
	case Exec:
		answer = s.exec(client, request)
	case Interrupt:
		answer = s.interrupt(request.ID)
	case Status:
		text, err := json.Marshal(s.Status(request.Details))
		answer = Answer{Status: text}
		if err != nil {
			answer = refusal(NotUp, err)
		}
	case Wait:
		answer = s.wait(client)
	default:
		answer = refusal(NotUp, fmt.Errorf("unknown request %q", request.Kind))
	}
	_ = client.send(answer)
}

func refusal(code int, err error) Answer { return Answer{Code: code, Error: err.Error()} }

func (s *Server) wait(client *peer) Answer {
	select {
	case <-s.Ready:
		return Answer{Version: s.Version()}
	case <-gone(client):
		return Answer{}
	}
}

// gone is closed when the client has hung up. It must be called once, after the request.
func gone(client *peer) <-chan struct{} {
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		_, _ = client.buffer.ReadByte() // a client says no more
	}()
	return hungUp
}

func (s *Server) interrupt(id string) Answer {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := s.commands[id]
	if found == nil {
		return Answer{Code: 1}
	}
	found.interrupt()
	return Answer{}
}

// exec runs a command until it ends. If its client ends first, the command is interrupted.
func (s *Server) exec(client *peer, request Request) Answer {
	if len(request.Args) == 0 {
		return refusal(2, errors.New("no command"))
	}
	spec, err := s.spec(client, request)
	if err != nil {
		return refusal(NotUp, err)
	}
	var terminal *os.File
	if request.Terminal {
		var own *os.File
		if terminal, own, err = s.Terminals.open(request.Rows, request.Columns, spec.Sys.Credential.Uid); err != nil {
			return refusal(NotUp, fmt.Errorf("terminal: %w", err))
		}
		defer terminal.Close()
		defer own.Close()
		spec.Files = []*os.File{own, own, own}
	}
	started, err := s.begin(request.ID, spec)
	if err != nil {
		return refusal(startCode(err), err)
	}
	defer s.forget(request.ID)
	if request.Terminal {
		err := client.send(Answer{Terminal: true}, terminal)
		// The command and the client have the only ends left: when the client ends, the
		// terminal hangs up.
		for _, file := range []*os.File{terminal, spec.Files[0]} {
			file.Close()
		}
		if err != nil {
			started.interrupt()
		}
	}
	client.drop() // the command's own copies are the last ones
	hungUp := gone(client)
	for {
		select {
		case <-started.process.Done():
			return Answer{Code: started.process.Code()}
		case <-hungUp:
			started.interrupt()
			hungUp = nil
		}
	}
}

// begin starts a command. A request to interrupt it waits until the command is known.
func (s *Server) begin(id string, spec process.Spec) (*command, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	running, err := s.start(spec)
	if err != nil {
		return nil, err
	}
	started := &command{process: running}
	if id != "" {
		s.commands[id] = started
	}
	return started, nil
}

func (s *Server) forget(id string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.commands, id)
}

// spec describes a command's process: with all its processes it gets signals, so it leads a
// group, or a session if it has a terminal.
func (s *Server) spec(client *peer, request Request) (process.Spec, error) {
	uid := uint32(user.Runner)
	if request.Root {
		uid = 0
	}
	who := user.Find(s.Root, uid)
	env := user.Environment(s.Root, who, s.Base, s.Settings)
	attributes := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: who.Groups}}
	if request.Terminal {
		attributes.Setsid, attributes.Setctty = true, true
		if request.Term != "" {
			env = append(env, "TERM="+request.Term)
		}
	} else {
		attributes.Setpgid = true
		if len(client.files) != 3 {
			return process.Spec{}, fmt.Errorf("%d descriptors, want 3", len(client.files))
		}
	}
	return process.Spec{
		Path: request.Args[0], Args: request.Args[1:], Dir: who.Home, Env: env, Files: client.files, Sys: attributes, OOMScore: process.Expendable,
	}, nil
}

// start starts a process in its folder, or in / if the user can't enter that. A script without
// an interpreter is for sh, as execvp(3) does.
func (s *Server) start(spec process.Spec) (*process.Process, error) {
	running, err := s.Reaper.Start(spec)
	if errors.Is(err, unix.ENOEXEC) {
		spec.Path, spec.Args = "/bin/sh", append([]string{spec.Path}, spec.Args...)
		running, err = s.Reaper.Start(spec)
	}
	// A path with a slash is relative to the folder.
	if err != nil && spec.Dir != "/" && (filepath.IsAbs(spec.Path) || !strings.Contains(spec.Path, "/")) {
		spec.Dir = "/"
		return s.Reaper.Start(spec)
	}
	return running, err
}

func startCode(err error) int {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return NotFound
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.EISDIR):
		return NotExecutable
	}
	return NotUp
}
