//go:build linux

// The program is the runtime of a runner. It is PID 1 of the container, the init of the job's
// machine, its cleaner, and a client of that init, depending on its name and first argument.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/canary"
	"github.com/runnerctl/runnerctl/internal/machine/cleaner"
	"github.com/runnerctl/runnerctl/internal/machine/control"
	"github.com/runnerctl/runnerctl/internal/machine/dial"
	"github.com/runnerctl/runnerctl/internal/machine/inner"
	"github.com/runnerctl/runnerctl/internal/machine/outer"
)

const (
	codeUsage = 2
	// upPause is the wait between two looks for a machine that is not up yet.
	upPause = 5 * time.Millisecond
)

// The main thread stays with the main function: the rights of a thread that another goroutine
// uses may change for a moment, and those of the main thread are the process's.
func init() { runtime.LockOSThread() }

func main() { os.Exit(run(filepath.Base(os.Args[0]), os.Args[1:])) }

func run(name string, arguments []string) (code int) {
	client := control.Client{Socket: filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), control.SocketName), In: os.Stdin, Out: os.Stdout, Errs: os.Stderr}
	var err error
	switch name {
	case "exec":
		code, err = execute(client, arguments)
	case "status":
		code, err = ask(client, control.Request{Kind: control.Status, Details: len(arguments) > 0})
	case "wait-ready":
		code, err = ask(client, control.Request{Kind: control.Wait})
	default:
		return runPart(arguments)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	return code
}

// runPart is one of the processes of a runner.
func runPart(arguments []string) (code int) {
	mode := ""
	if len(arguments) > 0 {
		mode = arguments[0]
	}
	switch mode {
	case "":
		return outer.Run(os.Stdout)
	case outer.Inside:
		return inner.Run(os.Stdout)
	case inner.Configure:
		return inner.RunConfigure(os.Stdout)
	case cleaner.Argument:
		if len(arguments) == 2 {
			return cleaner.Run(arguments[1], os.Stderr)
		}
	case canary.Argument:
		return canary.Run(arguments[1:], os.Stdin, os.Stdout, os.Stderr)
	case canary.Counter:
		return canary.Count(os.Stdout, os.Stderr)
	case dial.ListensArgument:
		return dial.RunListens(arguments[1:])
	case dial.ResolverArgument:
		return dial.RunResolver(arguments[1:])
	case outer.TryNothing:
		return 0
	case outer.TryProc:
		if unix.Mount("proc", "/rootfs/proc", "proc", 0, "") != nil {
			return 1
		}
		return 0
	}
	fmt.Fprintf(os.Stderr, "start: unknown arguments %q\n", arguments)
	return codeUsage
}

// ask prints an answer of the machine. A machine that is not up yet is waited for if that is
// the request.
func ask(client control.Client, request control.Request) (code int, err error) {
	answer, err := client.Ask(request)
	for request.Kind == control.Wait && errors.Is(err, control.ErrNotUp) {
		time.Sleep(upPause)
		answer, err = client.Ask(request)
	}
	switch {
	case errors.Is(err, control.ErrSilent):
		fmt.Printf("{\"problem\":%q}\n", err)
		return 0, nil
	case err != nil && request.Kind == control.Status:
		fmt.Println(`{"starting":1}`) // or about to end
		return 0, nil
	case err != nil:
		return control.NotUp, err
	case answer.Error != "":
		return answer.Code, errors.New(answer.Error)
	case request.Kind == control.Status:
		fmt.Println(string(answer.Status))
	default:
		fmt.Println(answer.Version)
	}
	return answer.Code, nil
}

var idPattern = regexp.MustCompile(`^[0-9A-Z]+$`)

// execute runs a command in the machine: exec [--root] [--tty] COMMAND…
// exec --interrupt ID ends the command that was run with RUNNERCTL_EXEC=ID.
// RUNNERCTL_TERMINAL_SIZE=HEIGHTxWIDTH is the size of a terminal that has none yet.
func execute(client control.Client, arguments []string) (code int, err error) {
	request := control.Request{Kind: control.Exec, ID: os.Getenv("RUNNERCTL_EXEC"), Term: os.Getenv("TERM")}
	for len(arguments) > 0 {
		switch arguments[0] {
		case "--root":
			request.Root = true
		case "--tty":
			request.Terminal = true
		case "--interrupt":
			if len(arguments) != 2 {
				return codeUsage, errors.New("--interrupt needs an id")
			}
			answer, err := client.Ask(control.Request{Kind: control.Interrupt, ID: arguments[1]})
			if err != nil {
				return 1, nil // there is none
			}
			return answer.Code, nil
		default:
			request.Args = arguments
			arguments = nil
			continue
		}
		arguments = arguments[1:]
	}
	if request.ID != "" && !idPattern.MatchString(request.ID) {
		return codeUsage, fmt.Errorf("%s is not an id", request.ID)
	}
	if size := os.Getenv("RUNNERCTL_TERMINAL_SIZE"); size != "" {
		if _, err := fmt.Sscanf(size, "%dx%d", &request.Rows, &request.Columns); err != nil {
			return codeUsage, fmt.Errorf("%s is not a size: %w", size, err)
		}
	}
	return client.Exec(request)
}
