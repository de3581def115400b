package selftest

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine/canary"
	"github.com/runnerctl/runnerctl/scripts"
	"github.com/runnerctl/runnerctl/templates"
)

const (
	// Folder holds the attempts inside a runner's machine.
	Folder      = "/home/runner/escape"
	escapeTitle = "attempts to escape"
)

// Attacker describes one way to run the attempts to get out of the runner's machine.
type Attacker struct {
	As   string
	Root bool // root of the machine
	Args []string
}

// Attackers returns all attackers. privileged adds an inner container with --privileged.
func Attackers(privileged bool) []Attacker {
	battery := Folder + "/battery"
	inner := []string{"docker", "run", "--rm", "--interactive", "--volume", Folder + ":/escape:ro"}
	all := []Attacker{
		{As: "runner", Args: []string{"perl", battery}},
		{As: "root", Root: true, Args: []string{"perl", battery}},
		{As: "container", Args: append(inner[:len(inner):len(inner)], "runnerctl-deep", "perl", "/escape/battery")},
	}
	if privileged {
		flags := append(inner[:len(inner):len(inner)], "--privileged", "--pid=host", "--network=host", "--ipc=host", "--cgroupns=host", "--volume", "/:/h")
		all = append(all, Attacker{As: "privileged", Args: append(flags, "runnerctl-deep", "perl", "/escape/battery")})
	}
	return all
}

// Limits of one attacker's whole battery, and of a canary until it reports where it is.
const (
	batteryLimit = 5 * time.Minute
	canaryLimit  = time.Minute
)

// Attempts returns all attempts of scripts/escape, in its order.
func Attempts() (all []doctor.Attempt, err error) {
	files, err := fs.Glob(scripts.Escape, "escape/*.pl") // sorted
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := scripts.Escape.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, doctor.Attempts(string(text))...)
	}
	return all, nil
}

// escape lets every attacker in the tried runner try everything against canaries in its
// neighbour, around it and on this machine. A battery that ends early is no error.
func escape(ctx context.Context, engine *dockerx.Engine, pair Pair, spec fleet.Spec, local bool) ([]doctor.Battery, error) {
	attempts, err := Attempts()
	if err != nil {
		return nil, err
	}
	given := map[string]string{"opened": strings.Join(spec.Syscalls, ","), "devices": strings.Join(spec.Devices, ",")}
	alive, err := placeCanaries(ctx, engine, pair, given)
	if err != nil {
		return nil, err
	}
	if local {
		remove, err := placeHere(given)
		if err != nil {
			return nil, err
		}
		defer remove()
	}
	if err := engine.Send(ctx, pair.Tried, Folder, templates.Outer(templates.RunnerID), Pack); err != nil {
		return nil, err
	}
	var batteries []doctor.Battery
	for _, one := range Attackers(spec.InnerPrivileged) {
		batteries = append(batteries, Try(ctx, func(ctx context.Context, command dockerx.Command) (int, error) {
			return engine.Exec(ctx, pair.Tried, command)
		}, Attack{one, given, attempts}))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return batteries, alive() // the silence of a dead canary proves nothing
}

// Attack is the work of one attacker.
type Attack struct {
	Attacker
	Given    map[string]string // addresses and names, for the attacker's standard input
	Attempts []doctor.Attempt
}

// Try lets one attacker make its attempts in a runner's machine, where run runs a command until it
// ends.
func Try(ctx context.Context, run func(context.Context, dockerx.Command) (code int, err error), one Attack) doctor.Battery {
	limited, cancel := context.WithTimeoutCause(ctx, batteryLimit, fmt.Errorf("it did not end within %s", batteryLimit))
	defer cancel()
	var input strings.Builder
	for key, value := range one.Given {
		fmt.Fprintf(&input, "%s=%s\n", key, value)
	}
	args := slices.Clone(one.Args)
	for _, attempt := range one.Attempts {
		args = append(args, attempt.ID)
	}
	out, errs := &dockerx.Head{Limit: 1 << 20}, &dockerx.Head{Limit: 1 << 16}
	code, err := run(limited, dockerx.Command{Args: args, Root: one.Root, Stdin: strings.NewReader(input.String()), Stdout: out, Stderr: errs})
	switch {
	case limited.Err() != nil:
		err = context.Cause(limited)
	case err == nil && code != 0:
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(errs.String()))
	}
	return doctor.Battery{As: one.As, Attempts: doctor.ReadAttempts(one.As, out.String(), one.Attempts, err), Err: err}
}

// placeCanaries puts canaries into the neighbour and into the tried runner's outer tree, and
// records in given where they are. alive fails if one of them has ended; they end with their
// runners.
func placeCanaries(ctx context.Context, engine *dockerx.Engine, pair Pair, given map[string]string) (alive func() error, err error) {
	own, gateway, err := engine.Addresses(ctx, pair.Neighbour)
	if err != nil {
		return nil, err
	}
	given["neighbour"], given["gateway"] = own.String(), gateway.String()
	given["token"], given["outer"] = "canary-"+rand.Text(), "canary-"+rand.Text()
	given["file"], given["outerfile"] = "/root/"+given["token"], "/run/user/1001/"+given["outer"]
	if err := copyProgram(ctx, engine, pair.Neighbour); err != nil {
		return nil, fmt.Errorf("runner %s: copy a canary into its machine: %w", pair.Neighbour.Name, err)
	}
	inside, err := PlaceCanary(pair.Neighbour.Name, ProgramInside, given["token"], given["file"], func(command dockerx.Command) (int, error) {
		command.Root = true
		return engine.Exec(ctx, pair.Neighbour, command)
	})
	if err != nil {
		return nil, err
	}
	around, err := PlaceCanary(pair.Tried.Name, canary.Program, given["outer"], given["outerfile"], func(command dockerx.Command) (int, error) {
		return engine.ExecOuter(ctx, pair.Tried, command)
	})
	if err != nil {
		return nil, err
	}
	given["port"], given["otherloopback"], given["shm"] = inside.Port, inside.Loopback, inside.SHM
	given["outerloopback"] = around.Loopback
	if given["published"], err = publish(ctx, engine, pair.Neighbour, given["token"]); err != nil {
		return nil, err
	}
	return func() error {
		for _, one := range []Canary{inside, around} {
			select {
			case err := <-one.ended:
				return fmt.Errorf("runner %s: a canary ended: %w", one.runner, err)
			default:
			}
		}
		return nil
	}, nil
}

// ProgramInside is the place of the canary's program in a machine, whose jobs have no such program.
const ProgramInside = "/usr/local/bin/canary"

// copyProgram copies the canary's program from a runner's outer tree into its machine.
func copyProgram(ctx context.Context, engine *dockerx.Engine, runner fleet.Runner) error {
	reader, writer := io.Pipe()
	go func() {
		_, err := engine.ExecOuter(ctx, runner, dockerx.Command{Args: []string{"cat", canary.Program}, Stdout: writer, Stderr: io.Discard})
		_ = writer.CloseWithError(err) // never fails
	}()
	errs := &dockerx.Head{Limit: 1 << 16}
	code, err := engine.Exec(ctx, runner, dockerx.Command{
		Args: []string{"sh", "-euc", `cat >"$1"; [ -s "$1" ]; chmod 755 "$1"`, "copy", ProgramInside}, Root: true, Stdin: reader, Stdout: errs, Stderr: errs,
	})
	_ = reader.Close()
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(errs.String()))
	}
	return err
}

// Canary is a running target that an attacker must not reach.
type Canary struct {
	runner              string
	Port, Loopback, SHM string
	ended               <-chan error
}

// PlaceCanary starts a canary, whose answers are token and which writes file. start runs a command
// of the program in the runner until it ends.
func PlaceCanary(runner, program, token, file string, start func(dockerx.Command) (int, error)) (Canary, error) {
	forever, _ := io.Pipe()
	ended := make(chan error, 1)
	one := Canary{runner: runner, ended: ended}
	line, err := firstSaid(canaryLimit, func(out io.Writer) error {
		code, err := start(dockerx.Command{Args: []string{"env", "CANARY=" + token, program, canary.Argument, token, file}, Stdin: forever, Stdout: out, Stderr: out})
		if err == nil {
			err = fmt.Errorf("exit code %d", code)
		}
		ended <- err
		return err
	})
	if err == nil {
		_, err = fmt.Sscan(line, &one.Port, &one.Loopback, &one.SHM)
	}
	if err != nil {
		return Canary{}, fmt.Errorf("runner %s: a canary: %w", runner, cmp.Or(err, errors.New(line)))
	}
	return one, nil
}

// firstSaid starts run, which keeps running, and returns the first line that it prints.
func firstSaid(limit time.Duration, run func(io.Writer) error) (string, error) {
	reader, writer := io.Pipe()
	go func() {
		_ = writer.CloseWithError(run(writer)) // never fails
	}()
	late := time.AfterFunc(limit, func() { _ = writer.CloseWithError(fmt.Errorf("no output within %s", limit)) })
	line, err := bufio.NewReader(reader).ReadString('\n')
	late.Stop()
	go func() { _, _ = io.Copy(io.Discard, reader) }() // until run ends
	return strings.TrimSpace(line), err
}

// publish starts a container in the runner that serves token on a published port, and returns
// the port.
func publish(ctx context.Context, engine *dockerx.Engine, runner fleet.Runner, token string) (port string, err error) {
	image, err := scripts.Deep.ReadFile("deep/3-run")
	if err != nil {
		return "", err
	}
	script, err := scripts.Escape.ReadFile("escape/publish")
	if err != nil {
		return "", err
	}
	limited, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	out, errs := &dockerx.Head{Limit: 1 << 16}, &dockerx.Head{Limit: 1 << 16}
	code, err := engine.Exec(limited, runner, dockerx.Command{Args: []string{"bash", "-c", string(image) + "\n" + string(script), "publish", token}, Stdout: out, Stderr: errs})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(errs.String()))
	}
	if err != nil {
		return "", fmt.Errorf("runner %s: a published port: %w", runner.Name, err)
	}
	return lastLine(out.String()), nil
}

// placeHere places canaries on this machine: a service on localhost, and a key if the kernel
// accepts one.
func placeHere(given map[string]string) (remove func(), err error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a canary on localhost: %w", err)
	}
	go SayToken(listener, given["token"])
	_, given["loopback"], _ = net.SplitHostPort(listener.Addr().String()) // the address is always valid
	removeKey := func() {}
	if serial, removeIt, err := PlaceKey(given["token"]); err == nil { // otherwise that attempt is not made
		given["key"], removeKey = serial, removeIt
	}
	return func() {
		_ = listener.Close()
		removeKey()
	}, nil
}

// SayToken sends token to every client until the listener is closed.
func SayToken(listener net.Listener, token string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = fmt.Fprintln(connection, token) // the client may have gone
		_ = connection.Close()
	}
}

// Pack writes the battery into an archive, below name.
func Pack(out *tar.Writer, name string) error {
	owner := templates.Outer(templates.RunnerID)
	return fs.WalkDir(scripts.Escape, "escape", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeDir, Name: name + strings.TrimPrefix(path, "escape"), Mode: 0o755, Uid: owner, Gid: owner}
		if entry.IsDir() {
			return out.WriteHeader(header)
		}
		text, err := scripts.Escape.ReadFile(path)
		if err != nil {
			return err
		}
		header.Typeflag, header.Size = tar.TypeReg, int64(len(text))
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	})
}
