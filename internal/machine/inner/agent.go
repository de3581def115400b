//go:build linux

package inner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/agent"
	"github.com/runnerctl/runnerctl/internal/machine/cleaner"
	"github.com/runnerctl/runnerctl/internal/machine/github"
	"github.com/runnerctl/runnerctl/internal/machine/process"
	"github.com/runnerctl/runnerctl/internal/machine/services"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

const hooks = "/usr/lib/runnerctl/hooks"

// agentService returns the agent as a service of this process.
func (m *machineInit) agentService() (*services.Service, error) {
	output, err := m.log.Output("agent")
	if err != nil {
		return nil, err
	}
	m.agent = agent.New(agent.Options{
		Settings: *m.boot.Settings.Agent, Credential: m.credential,
		Say: func(text string) {
			output.Flush() // the listener's last lines come first
			m.log.Say("agent", text)
		},
		Routed:   m.routed,
		Register: func() (agent.Process, error) { return m.startRegistration(output.Write) },
		Start:    func(command agent.Command) (agent.Process, error) { return m.runAsRunner(command, output.Write) },
		Clean:    m.startCleaner,
		Bind:     bind,
	})
	return &services.Service{Name: "agent", Flush: output.Flush, Start: func() (services.Process, error) {
		running := &agentProcess{agent: m.agent, done: make(chan struct{})}
		go func() {
			defer close(running.done)
			running.code = m.agent.Run()
			for _, file := range essentials {
				if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
					m.log.Say("start", "a job removed "+file)
				}
			}
		}()
		return running, nil
	}}, nil
}

// essentials are files without which jobs fail. The record of a runner has its last lines of log.
var essentials = []string{hooks + "/job-started.sh", hooks + "/job-completed.sh", "/bin/bash"}

// agentProcess is the agent in the form of a process.
type agentProcess struct {
	agent *agent.Agent
	done  chan struct{}
	code  int
}

func (p *agentProcess) Done() <-chan struct{} { return p.done }
func (p *agentProcess) Code() int             { return p.code }

// Signal stops the agent, or kills its listener.
func (p *agentProcess) Signal(signal syscall.Signal) error {
	switch signal {
	case unix.SIGTERM:
		p.agent.Stop()
	case unix.SIGKILL:
		p.agent.Kill()
	}
	return nil
}

// runAsRunner starts a program of the agent with the environment of jobs.
func (m *machineInit) runAsRunner(command agent.Command, output *os.File) (agent.Process, error) {
	runner := user.Find("/", user.Runner)
	running, err := m.reaper.Start(process.Spec{
		Path: agent.Home + "/" + command.Path, Args: command.Args, Dir: agent.Home, Env: agentEnvironment(runner, m.boot.Settings, command.Env),
		Files: []*os.File{nil, output, output}, OOMScore: process.Expendable,
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user.Runner, Gid: user.Runner, Groups: runner.Groups}, Setpgid: true},
	})
	if err != nil {
		return nil, err
	}
	return listener{running}, nil
}

// agentEnvironment is the environment of the agent's programs. Nothing overrides runnerctl's own
// hooks.
func agentEnvironment(runner user.User, settings machine.Settings, more []string) []string {
	env := user.Environment("/", runner, machine.ProxyVariables(os.Environ()), settings.Env)
	if settings.Cache != nil && settings.Cache.Actions {
		env = append(env, "ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE="+machine.ArchivesFolder)
	}
	return append(slices.Concat(env, more),
		"ACTIONS_RUNNER_HOOK_JOB_STARTED="+hooks+"/job-started.sh", "ACTIONS_RUNNER_HOOK_JOB_COMPLETED="+hooks+"/job-completed.sh",
		"ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=1")
}

// Configure is the argument with which the program registers the agent and becomes its listener.
const Configure = "configure"

// startRegistration starts the process that registers. It alone reads the credential.
func (m *machineInit) startRegistration(output *os.File) (agent.Process, error) {
	text, err := json.Marshal(m.boot.Settings)
	if err != nil {
		return nil, err
	}
	env := append(machine.ProxyVariables(os.Environ()), "PATH="+path, machine.EnvSettings+"="+string(text))
	running, err := m.reaper.Start(process.Spec{Path: "/proc/self/exe", Args: []string{Configure}, Env: env, Files: []*os.File{m.credential, output, output}})
	m.credential.Close()
	if err != nil {
		return nil, err
	}
	return listener{running}, nil
}

// RunConfigure registers the agent and becomes its listener. It returns only if that fails.
func RunConfigure(out io.Writer) (code int) {
	settings, err := machine.FromEnvironment(os.Getenv)
	if err != nil || settings.Agent == nil {
		fmt.Fprintln(out, "no settings for a registration:", err)
		return 1
	}
	credential, err := takeInput()
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	registering := agent.New(agent.Options{
		Settings: *settings.Agent, Credential: credential,
		Say: func(text string) { fmt.Fprintln(out, text) },
		Exchange: func(ctx context.Context, mode machine.AgentMode, api, credential string) (string, error) {
			return github.Client{HTTP: http.DefaultClient, Now: time.Now}.RegistrationToken(ctx, mode, api, credential)
		},
	})
	return registering.Configure(context.Background(), func(command agent.Command) error {
		runner := user.Find("/", user.Runner)
		groups := make([]int, len(runner.Groups))
		for i, group := range runner.Groups {
			groups[i] = int(group)
		}
		if err := errors.Join(syscall.Setgroups(groups), syscall.Setresgid(user.Runner, user.Runner, user.Runner),
			syscall.Setresuid(user.Runner, user.Runner, user.Runner), os.Chdir(agent.Home)); err != nil {
			return err
		}
		program := agent.Home + "/" + command.Path
		return syscall.Exec(program, append([]string{program}, command.Args...), agentEnvironment(runner, settings, command.Env))
	})
}

// listener is a program of the agent.
type listener struct{ *process.Process }

// Busy reports whether it has children: an idle listener has none, a job runs in one.
func (l listener) Busy() bool {
	tasks := fmt.Sprintf("/proc/%d/task", l.PID)
	threads, _ := os.ReadDir(tasks)
	for _, thread := range threads {
		if text, err := os.ReadFile(tasks + "/" + thread.Name() + "/children"); err == nil && len(text) > 0 {
			return true
		}
	}
	return false
}

// startCleaner starts the process that cleans a static runner between jobs.
func (m *machineInit) startCleaner(work string) error {
	output, err := m.log.Output("agent")
	if err != nil {
		return err
	}
	asks, askedBy, err := os.Pipe()
	if err != nil {
		return err
	}
	answerTo, answers, err := os.Pipe()
	if err != nil {
		return err
	}
	_, err = m.reaper.Start(process.Spec{
		Path: "/proc/self/exe", Args: []string{cleaner.Argument, work}, OOMScore: process.Expendable,
		Files: []*os.File{nil, output.Write, output.Write, askedBy, answerTo},
		Sys:   &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}, // Go then makes the mounts private
	})
	askedBy.Close()
	answerTo.Close()
	go m.endStrays(asks, answers)
	return err
}

// endStrays ends processes that a job left running as runner, each time when the cleaner asks
// for it with a line. Only the init knows which of its children it started itself. The answer is
// a line with the number of those that go on.
func (m *machineInit) endStrays(asks io.Reader, answers io.Writer) {
	const tries, pause = 40, 100 * time.Millisecond
	for asked := bufio.NewScanner(asks); asked.Scan(); {
		left := 0
		for try := range tries {
			signal := unix.SIGTERM
			if try >= tries/2 {
				signal = unix.SIGKILL
			}
			if left = m.reaper.SignalStrays(user.Runner, signal); left == 0 {
				break
			}
			time.Sleep(pause)
		}
		fmt.Fprintln(answers, left)
	}
}
