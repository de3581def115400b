// Runner.Listener is an agent for tests. It stands in for GitHub's runner, whose release can't
// be downloaded on a closed network, with the same files, command line and exit codes. It
// speaks GitHub's protocol with the packages of github.com/ChristopherHX/github-act-runner;
// the handling of jobs is its own.
//
//	bin/Runner.Listener run
//	bin/Runner.Listener configure --unattended --url … --name … --labels … --work … [--ephemeral] --disableupdate
//	bin/Runner.Listener remove --unattended
//
// The root folder is the parent of bin/. It holds .runner, .credentials and
// .credentials_rsaparams, and .env, whose lines are added to the environment.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// version names the release whose behaviour is imitated.
const version = "2.330.0-runnerctl"

// Exit codes of GitHub's runner.
const (
	exitSuccess           = 0
	exitTerminated        = 1
	exitRetryable         = 2
	exitSessionConflict   = 5
	exitVersionDeprecated = 7
	exitSIGTERM           = 143
)

const terminationLimit = 30 * time.Second

func main() {
	executable, err := os.Executable()
	if err != nil {
		fmt.Fprintf(os.Stderr, "An error occurred: %v\n", err)
		os.Exit(exitTerminated)
	}
	ctx, stop := context.WithCancel(context.Background())
	terminated := heedSignals(stop)
	code := command(ctx, filepath.Dir(filepath.Dir(executable)), os.Args[1:])
	if terminated.Load() {
		code = exitSIGTERM
	}
	os.Exit(code)
}

// heedSignals calls stop at a signal. GitHub's runner is made for SIGINT, which has no time
// limit. After SIGTERM it has 30 seconds, and it exits with a code of its own
// (Runner.Listener/Runner.cs:346-353, Constants.cs).
func heedSignals(stop func()) *atomic.Bool {
	terminated := &atomic.Bool{}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for one := range signals {
			stop()
			if one == syscall.SIGTERM && !terminated.Swap(true) {
				time.AfterFunc(terminationLimit, func() { os.Exit(exitSIGTERM) })
			}
		}
	}()
	return terminated
}

func command(ctx context.Context, root string, args []string) int {
	if err := loadEnvironment(filepath.Join(root, ".env")); err != nil {
		fmt.Fprintf(os.Stderr, "An error occurred: %v\n", err)
		return exitTerminated
	}
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	var err error
	switch verb {
	case "--version":
		fmt.Println(version)
	case "run":
		if len(args) > 0 {
			fmt.Fprintf(os.Stderr, "Unrecognized command-line input arguments for command run: '%s'\n", strings.Join(args, ", "))
			return exitTerminated
		}
		return run(ctx, root)
	case "worker": // the listener's own child
		err = runWorker(root, os.Stdin)
	case "configure":
		err = configure(ctx, root, args)
	case "remove":
		err = remove(ctx, root, args)
	default:
		err = fmt.Errorf("unknown command %q: run, configure, remove or --version", verb)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "An error occurred: %v\n", err)
		return exitTerminated
	}
	return exitSuccess
}

// loadEnvironment sets variables from the lines NAME=VALUE of a file, if the file exists.
func loadEnvironment(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), "="); found && name != "" {
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("%s: %s: %w", path, name, err)
			}
		}
	}
	return lines.Err()
}
