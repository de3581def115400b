package dockerx

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	enter   = "/usr/lib/runnerctl/exec"
	envExec = "RUNNERCTL_EXEC" // lets enter find a command again
	// envSize is the size of the command's terminal, as HEIGHTxWIDTH: engines before API 1.42
	// set a terminal's size only after the command has begun.
	envSize = "RUNNERCTL_TERMINAL_SIZE"
)

// Command is a command to run in a runner's machine.
type Command struct {
	Args   []string
	Root   bool // as inner root instead of the user runner
	TTY    bool
	Stdin  io.Reader // nil: none
	Stdout io.Writer
	Stderr io.Writer
	Height uint // of the terminal, in lines; 0: unknown
	Width  uint // in columns
	// Resizes yields new (height, width); nil: none.
	Resizes <-chan [2]uint
}

// Exec runs a command inside the inner machine and returns its exit code.
func (e *Engine) Exec(ctx context.Context, runner fleet.Runner, command Command) (int, error) {
	id := rand.Text()
	args := []string{enter}
	if command.Root {
		args = append(args, "--root")
	}
	if command.TTY {
		args = append(args, "--tty")
	}
	options := container.ExecOptions{
		User: runnerUser, Tty: command.TTY, AttachStdin: command.Stdin != nil, Env: []string{envExec + "=" + id},
		AttachStdout: true, AttachStderr: true, Cmd: append(args, command.Args...),
	}
	if command.TTY && command.Height > 0 {
		options.ConsoleSize = &[2]uint{command.Height, command.Width}
		options.Env = append(options.Env, fmt.Sprintf("%s=%dx%d", envSize, command.Height, command.Width))
	}
	code, err := e.run(ctx, runner.ContainerID, options, command)
	if ctx.Err() != nil {
		e.interrupt(context.WithoutCancel(ctx), runner.ContainerID, id)
	}
	return code, err
}

// interruptLimit is how long a command may take to end once its caller has gone.
const interruptLimit = 5 * time.Second

// interrupt ends a command that Exec started: the engine lets a command run on when its
// caller has gone.
func (e *Engine) interrupt(ctx context.Context, container, id string) {
	bounded, cancel := context.WithTimeout(ctx, interruptLimit)
	defer cancel()
	for bounded.Err() == nil {
		code, err := e.exec(bounded, container, []string{enter, "--interrupt", id}, io.Discard, io.Discard)
		if err != nil || code != 0 {
			return // it has ended
		}
		select {
		case <-bounded.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (e *Engine) exec(ctx context.Context, id string, args []string, stdout, stderr io.Writer) (int, error) {
	options := container.ExecOptions{User: runnerUser, AttachStdout: true, AttachStderr: true, Cmd: args}
	return e.run(ctx, id, options, Command{Stdout: stdout, Stderr: stderr})
}

func (e *Engine) run(ctx context.Context, id string, options container.ExecOptions, command Command) (int, error) {
	created, err := e.api.ContainerExecCreate(ctx, id, options)
	if err != nil {
		return 0, err
	}
	attached, err := e.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{Tty: options.Tty, ConsoleSize: options.ConsoleSize})
	if err != nil {
		return 0, err
	}
	defer attached.Close()
	if command.Stdin != nil {
		go func() {
			_, _ = io.Copy(attached.Conn, command.Stdin) // ends with the command
			_ = attached.CloseWrite()
		}()
	}
	if command.Resizes != nil {
		done := make(chan struct{})
		defer close(done)
		if command.Height > 0 { // engines before API 1.42 ignore ConsoleSize
			_ = e.api.ContainerExecResize(ctx, created.ID, container.ResizeOptions{Height: command.Height, Width: command.Width})
		}
		go func() {
			for {
				select {
				case <-done:
					return
				case size, ok := <-command.Resizes:
					if !ok {
						return
					}
					_ = e.api.ContainerExecResize(ctx, created.ID, container.ResizeOptions{Height: size[0], Width: size[1]})
				}
			}
		}()
	}
	copied := make(chan error, 1)
	go func() {
		var err error
		if options.Tty {
			_, err = io.Copy(command.Stdout, attached.Reader)
		} else {
			_, err = stdcopy.StdCopy(command.Stdout, command.Stderr, attached.Reader)
		}
		copied <- err
	}()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case err := <-copied:
		if err != nil {
			return 0, err
		}
	}
	info, err := e.api.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return 0, fmt.Errorf("exit code: %w", err)
	}
	return info.ExitCode, nil
}

// Head is a writer that keeps the beginning of its input and drops the rest, so that a job
// can't fill runnerctl's memory. It can be read while a command that was given up still
// writes to it.
type Head struct {
	Limit int
	mutex sync.Mutex
	text  bytes.Buffer
}

func (h *Head) Write(p []byte) (int, error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.text.Write(p[:min(len(p), max(0, h.Limit-h.text.Len()))])
	return len(p), nil
}

func (h *Head) String() string {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.text.String()
}
