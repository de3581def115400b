package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
)

type executionPlace int

const (
	onHost executionPlace = iota
	inContainer
)

// Time that a cancelled step has after each signal.
const (
	afterInterrupt = 7500 * time.Millisecond
	afterTerminate = 2500 * time.Millisecond
)

// execute runs a command with a step's environment and logs its output. Then it reads the
// files that the command wrote for the runner.
func (w *worker) execute(ctx context.Context, place executionPlace, args []string, folder string, own map[string]string) error {
	files, err := w.newFiles()
	if err != nil {
		return err
	}
	env := w.environment(own, files)
	if place == inContainer {
		args, env = w.container.exec(args, folder, env, w.path)
		folder = w.work
	}
	exitErr := w.command(ctx, args, folder, env)
	return errors.Join(exitErr, w.readFiles(files))
}

// command runs one process group to its end.
func (w *worker) command(ctx context.Context, args []string, folder string, env map[string]string) error {
	output, input := io.Pipe()
	command := exec.Command(args[0], args[1:]...) //nolint:gosec // steps are commands
	command.Dir, command.Stdout, command.Stderr = folder, input, input
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = afterTerminate // for output of processes that the step left behind
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		w.readOutput(output)
	}()
	if err := command.Start(); err != nil {
		_ = input.Close()
		<-read
		return err
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
		case <-ctx.Done():
			kill(command.Process.Pid, ended)
		}
	}()
	err := command.Wait()
	close(ended)
	_ = input.Close()
	<-read
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return fmt.Errorf("Process completed with exit code %d.", exit.ExitCode()) //nolint:staticcheck,revive // GitHub's words
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended well; a background process kept its output open
	}
	return err
}

// kill ends a process group as GitHub's runner does.
func kill(group int, ended <-chan struct{}) {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, afterInterrupt}, {syscall.SIGTERM, afterTerminate}, {syscall.SIGKILL, 0}} {
		_ = syscall.Kill(-group, step.signal) // it may be gone
		select {
		case <-ended:
			return
		case <-time.After(step.wait):
		}
	}
}

// readOutput logs lines, and obeys the commands among them.
func (w *worker) readOutput(output io.Reader) {
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" || err == nil {
			switch {
			case strings.HasPrefix(line, "::add-mask::"):
				w.log.mask(strings.TrimPrefix(line, "::add-mask::"))
			case strings.HasPrefix(line, "::error::"):
				w.log.line("##[error]" + strings.TrimPrefix(line, "::error::"))
			case strings.HasPrefix(line, "::group::"):
				w.log.line("##[group]" + strings.TrimPrefix(line, "::group::"))
			case line == "::endgroup::":
				w.log.line("##[endgroup]")
			default:
				w.log.line(line)
			}
		}
		if err != nil {
			return
		}
	}
}

// newFiles makes the files that a step writes for the runner, by the names of their variables.
func (w *worker) newFiles() (map[string]string, error) {
	files := map[string]string{}
	for variable, name := range map[string]string{"GITHUB_ENV": "set_env", "GITHUB_PATH": "add_path", "GITHUB_OUTPUT": "set_output", "GITHUB_STATE": "save_state", "GITHUB_STEP_SUMMARY": "step_summary"} {
		path := filepath.Join(w.temp, "_runner_file_commands", name+"_"+uuid.NewString())
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return nil, err
		}
		files[variable] = path
	}
	return files, nil
}

func (w *worker) readFiles(files map[string]string) error {
	defer func() {
		for _, path := range files {
			_ = os.Remove(path) // the folder is emptied before the next job
		}
	}()
	content := map[string]string{}
	for variable, path := range files {
		read, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", variable, err)
		}
		content[variable] = string(read)
	}
	set, err := readPairs(content["GITHUB_ENV"])
	if err != nil {
		return fmt.Errorf("Unable to process file command 'env' successfully: %w", err) //nolint:staticcheck // GitHub's words
	}
	outputs, err := readPairs(content["GITHUB_OUTPUT"])
	if err != nil {
		return fmt.Errorf("Unable to process file command 'output' successfully: %w", err) //nolint:staticcheck // GitHub's words
	}
	if w.current != nil {
		w.current.outputs = map[string]any{}
		for name, value := range outputs {
			w.current.outputs[name] = value
		}
	}
	maps.Copy(w.jobEnv, set)
	for line := range strings.Lines(content["GITHUB_PATH"]) {
		if line = strings.TrimSpace(line); line != "" {
			w.path = slices.Insert(w.path, 0, line)
		}
	}
	if content["GITHUB_STEP_SUMMARY"] != "" {
		return w.log.summary(content["GITHUB_STEP_SUMMARY"])
	}
	return nil
}

// readPairs reads NAME=VALUE, and NAME<<END, lines, END.
func readPairs(text string) (map[string]string, error) {
	pairs := map[string]string{}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSuffix(lines[i], "\r")
		equals, here := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case line == "":
		case equals >= 0 && (here < 0 || equals < here):
			if equals == 0 {
				return nil, fmt.Errorf("Invalid format '%s'. Name must not be empty", line) //nolint:staticcheck // GitHub's words
			}
			pairs[line[:equals]] = line[equals+1:]
		case here > 0 && line[here+2:] != "":
			end := slices.Index(lines[i+1:], line[here+2:])
			if end < 0 {
				return nil, fmt.Errorf("Invalid value. Matching delimiter not found '%s'", line[here+2:]) //nolint:staticcheck // GitHub's words
			}
			pairs[line[:here]] = strings.Join(lines[i+1:i+1+end], "\n")
			i += 1 + end
		default:
			return nil, fmt.Errorf("Invalid format '%s'", line) //nolint:staticcheck // GitHub's words
		}
	}
	return pairs, nil
}
