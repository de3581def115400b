// Bench measures runnerctl's claims on this machine's engine against the stock way to run a
// Docker daemon in an unprivileged container, and compares the figures with their limits. It
// writes bench/results.json and docs/bench; `make bench` and `make bench-quick` run it.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
)

var errInterrupted = errors.New("interrupted")

func main() { os.Exit(run()) }

func run() int {
	quickly := flag.Bool("quick", false, "fewer and shorter samples, a few minutes")
	only := flag.String("only", "", "measure only these `parts`, separated by commas, and write nothing: "+strings.Join(partNames(), ", "))
	flag.Parse()
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

	amounts := full
	if *quickly {
		amounts = quick
	}
	if *only != "" {
		amounts.only = strings.Split(*only, ",")
	}
	for _, name := range amounts.only {
		if !slices.Contains(partNames(), name) {
			say("-only: no part %q: expected some of %s", name, strings.Join(partNames(), ", "))
			return 2
		}
	}
	interruptible, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		say("stopping and cleaning up (press Ctrl-C again to exit at once)")
		cancel(errInterrupted)
		<-signals
		os.Exit(130)
	}()
	ctx, done := context.WithTimeoutCause(interruptible, amounts.limit, fmt.Errorf("did not finish within %s", amounts.limit))
	defer done()

	results, err := benchmark(ctx, amounts, *quickly, say)
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return 130
	}
	if err != nil {
		say("%v", err)
		return 1
	}
	if err := results.Judge(); err != nil {
		say("%v", err)
		return 1
	}
	if len(amounts.only) > 0 {
		return tell(results, say)
	}
	if err := write(results); err != nil {
		say("%v", err)
		return 1
	}
	return tell(results, say)
}

// report prints which limits were met. The exit code is 1 if one was missed.
func tell(results *Results, say func(string, ...any)) int {
	for _, verdict := range results.Limits {
		switch {
		case verdict.Unmeasured:
			say("-      %s: not measured (%s)", verdict.Key, verdict.Limit)
		case verdict.Pass:
			say("ok     %s %g (%s)", verdict.Key, verdict.Value, verdict.Limit)
		default:
			say("MISSED %s %g (%s)", verdict.Key, verdict.Value, verdict.Limit)
		}
	}
	if len(results.Missed) > 0 {
		say("limits missed: %s", strings.Join(results.Missed, ", "))
		return 1
	}
	return 0
}

// benchmark takes all measurements and leaves nothing behind but the runner image.
func benchmark(ctx context.Context, amounts amounts, quickly bool, say func(string, ...any)) (_ *Results, err error) {
	begin := time.Now()
	endpoint, err := dockerx.FindEndpoint(os.Getenv)
	if err != nil {
		return nil, err
	}
	socket, local := strings.CutPrefix(endpoint.Host, "unix://")
	if !local {
		return nil, fmt.Errorf("engine %s: the benchmark needs this machine's own engine, by its socket", endpoint.Host)
	}
	engine, err := dockerx.Connect(endpoint)
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	api, err := client.NewClientWithOpts(client.WithHost(endpoint.Host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", endpoint.Host, err)
	}
	defer func() { _ = api.Close() }()
	facts, err := engine.Facts(ctx)
	if err != nil {
		return nil, orCause(ctx, fmt.Errorf("engine %s: %w", endpoint.Host, err))
	}
	ctl, dir, err := newRunnerctl()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	version, err := ownVersion(ctx, ctl)
	if err != nil {
		return nil, orCause(ctx, err)
	}

	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	b := &bench{
		machine: &machine{api: api, run: "bench-" + hex.EncodeToString(random)},
		engine:  engine, socket: socket, runnerctl: ctl, dir: dir, say: say, amounts: amounts,
		results: &Results{Schema: 1, Date: begin.UTC().Truncate(time.Second), Quick: quickly, Machine: Machine{
			Kernel: facts.Kernel, System: facts.OS, Engine: facts.Version, Storage: facts.StorageDriver, Cgroup: facts.Cgroup,
			Cores: facts.CPUs, Memory: facts.Memory, Version: version,
		}},
	}
	say("%s on %d cores; all created objects have the label %s=%s", b.run, facts.CPUs, runLabel, b.run)
	defer func() {
		say("removing the created objects")
		err = errors.Join(err, b.down(ctx, b.run), b.down(ctx, b.run+"-pasta"), b.removeAll(ctx))
	}()
	if err := b.measure(ctx); err != nil {
		return nil, orCause(ctx, err)
	}
	say("measured in %s", time.Since(begin).Round(time.Second))
	return b.results, nil
}

// orCause returns why ctx ended instead of the error of a call that this interrupted.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func ownVersion(ctx context.Context, runnerctl func(context.Context, ...string) (string, error)) (string, error) {
	text, err := runnerctl(ctx, "version", "-o", "json")
	if err != nil {
		return "", err
	}
	var server struct{ Version string }
	if err := json.Unmarshal([]byte(text), &server); err != nil {
		return "", fmt.Errorf("runnerctl version: %w", err)
	}
	return server.Version, nil
}

const program = "bin/runnerctl"

// newRunnerctl returns a function that calls bin/runnerctl as a user would, in an empty folder
// and without RUNNERCTL_ variables from the environment.
func newRunnerctl() (call func(context.Context, ...string) (string, error), dir string, err error) {
	path, err := filepath.Abs(program)
	if err != nil {
		return nil, "", err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, "", fmt.Errorf("%w: run make build", err)
	}
	if dir, err = os.MkdirTemp("", "runnerctl-bench-"); err != nil {
		return nil, "", err
	}
	var environment []string
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, "RUNNERCTL_") {
			environment = append(environment, one)
		}
	}
	return func(ctx context.Context, args ...string) (string, error) {
		var out, errs bytes.Buffer
		command := exec.CommandContext(ctx, path, args...)
		command.Dir, command.Env, command.Stdout, command.Stderr = dir, environment, &out, &errs
		command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
		command.WaitDelay = 2 * time.Minute // it cleans up
		if err := command.Run(); err != nil {
			return "", fmt.Errorf("runnerctl %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
		}
		return out.String(), nil
	}, dir, nil
}

// writeConfig writes settings.yaml, a runnerctl configuration, to the run's own folder.
func (b *bench) writeConfig(text string) (string, error) {
	path := filepath.Join(b.dir, "settings.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
