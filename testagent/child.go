package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/ChristopherHX/github-act-runner/protocol"
)

// assignment is the listener's message to the process that works on a job. As in GitHub's
// runner, that is a child process, which shows observers that the runner is busy.
type assignment struct {
	Service string
	Request json.RawMessage
}

// Later messages of the listener, one per line. Both cancel the job, and then its last steps
// run. The listener's death ends the job.
const (
	sayCancel   = "cancel"
	sayShutdown = "shutdown"
)

// work runs a job in a child process. cancel asks it to cancel, and the end of ctx to end now.
func (l *listener) work(ctx context.Context, job assignment, cancel <-chan struct{}) error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(executable, "worker")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the listener passes on Ctrl-C itself
	input, err := child.StdinPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		if err := json.NewEncoder(input).Encode(job); err != nil {
			return // the child has ended
		}
		for {
			word := sayShutdown
			select {
			case <-ended:
				return
			case <-cancel:
				word, cancel = sayCancel, nil
			case <-ctx.Done():
			}
			if _, err := fmt.Fprintln(input, word); err != nil || word == sayShutdown {
				return
			}
		}
	}()
	err = child.Wait()
	close(ended)
	return err
}

// runWorker works on one job, in the child process that work starts.
func runWorker(root string, input io.Reader) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt) // the listener decides; steps keep the default effects
	lines := bufio.NewReader(input)
	var job assignment
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(first, &job); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	request := &protocol.AgentJobRequestMessage{}
	if err := json.Unmarshal(job.Request, request); err != nil {
		return fmt.Errorf("job message: %w", err)
	}
	instance, err := settingsFolder(root).load()
	if err != nil {
		return err
	}
	w, err := newWorker(filepath.Clean(root), instance, request, job.Service)
	if err != nil {
		return err
	}
	ctx, shutdown := context.WithCancel(context.Background())
	defer shutdown()
	cancel := make(chan struct{})
	go func() {
		for reported := false; ; {
			line, err := lines.ReadString('\n')
			switch {
			case err != nil: // the listener is dead
				shutdown()
				return
			case line == sayShutdown+"\n":
				w.stopped.Store(true)
			}
			if !reported {
				close(cancel)
				reported = true
			}
		}
	}()
	say("Job %s completed with result: %s", request.JobDisplayName, w.run(ctx, cancel))
	return nil
}
