package commands

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
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/scripts"
	"github.com/runnerctl/runnerctl/templates"
)

const (
	escapeFolder = "/home/runner/escape"
	escapeTitle  = "attempts to escape"
)

// escapist is who tries to get out of the runner's machine, and how it is run.
type escapist struct {
	as   string
	root bool // of the machine
	args []string
}

func escapists(privileged bool) []escapist {
	battery := escapeFolder + "/battery"
	inner := []string{"docker", "run", "--rm", "--interactive", "--volume", escapeFolder + ":/escape:ro"}
	all := []escapist{
		{as: "runner", args: []string{"perl", battery}},
		{as: "root", root: true, args: []string{"perl", battery}},
		{as: "container", args: append(inner[:len(inner):len(inner)], "runnerctl-deep", "perl", "/escape/battery")},
	}
	if privileged {
		flags := append(inner[:len(inner):len(inner)], "--privileged", "--pid=host", "--network=host", "--ipc=host", "--cgroupns=host", "--volume", "/:/h")
		all = append(all, escapist{as: "privileged", args: append(flags, "runnerctl-deep", "perl", "/escape/battery")})
	}
	return all
}

// deepEscape lets everybody in the tried runner try everything against canaries in
// its neighbour and on this machine. An error means that nothing could be tried.
func deepEscape(ctx context.Context, engine *dockerx.Engine, pair deepPair, spec fleet.Spec, local bool) ([]doctor.Attempt, error) {
	own, gateway, err := engine.Addresses(ctx, pair.neighbour)
	if err != nil {
		return nil, err
	}
	token := "canary-" + rand.Text()
	given := map[string]string{"token": token, "neighbour": own.String(), "gateway": gateway.String(), "file": "/root/" + token}
	if given["port"], _, given["shm"], err = placeCanary(ctx, engine, pair.neighbour, token, given["file"]); err != nil {
		return nil, err
	}
	if local {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("a canary on localhost: %w", err)
		}
		defer func() { _ = listener.Close() }()
		go sayToken(listener, token)
		_, given["loopback"], _ = net.SplitHostPort(listener.Addr().String()) // it is one
	}
	if err := engine.Send(ctx, pair.tried, escapeFolder, templates.Outer(runnerID), packEscape); err != nil {
		return nil, err
	}
	var attempts []doctor.Attempt
	for _, one := range escapists(spec.InnerPrivileged) {
		found, err := tryAs(ctx, engine, pair.tried, one, given)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case len(attempts) == 0 && len(found) == 0:
			return nil, fmt.Errorf("the attempts as %s: %w", one.as, cmp.Or(err, errors.New("none was made")))
		}
		attempts = append(attempts, doctor.FillAttempts(one.as, found, attempts, err)...)
	}
	return attempts, nil
}

// tryAs lets one of them try everything, or what ids name. An error came after the
// attempts that are returned.
func tryAs(ctx context.Context, engine *dockerx.Engine, runner fleet.Runner, one escapist, given map[string]string, ids ...string) ([]doctor.Attempt, error) {
	var input strings.Builder
	for key, value := range given {
		fmt.Fprintf(&input, "%s=%s\n", key, value)
	}
	out, errs := &dockerx.Head{Limit: 1 << 20}, &dockerx.Head{Limit: 1 << 16}
	args := append(one.args[:len(one.args):len(one.args)], ids...)
	code, err := engine.Exec(ctx, runner, dockerx.Command{Args: args, Root: one.root, Stdin: strings.NewReader(input.String()), Stdout: out, Stderr: errs})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(errs.String()))
	}
	return doctor.ReadAttempts(one.as, out.String()), err
}

// placeCanary starts scripts/escape/canary as the machine's root; it ends with its
// runner.
func placeCanary(ctx context.Context, engine *dockerx.Engine, runner fleet.Runner, token, file string) (port, localPort, key string, err error) {
	text, err := scripts.Escape.ReadFile("escape/canary")
	if err != nil {
		return "", "", "", err
	}
	reader, writer := io.Pipe()
	forever, _ := io.Pipe()
	go func() {
		_, err := engine.Exec(ctx, runner, dockerx.Command{
			Args: []string{"env", "CANARY=" + token, "perl", "-e", string(text), token, file}, Root: true,
			Stdin: forever, Stdout: writer, Stderr: writer,
		})
		_ = writer.CloseWithError(err) // never fails
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &port, &localPort, &key)
	}
	if err != nil {
		return "", "", "", fmt.Errorf("runner %s: a canary: %w", runner.Name, err)
	}
	return port, localPort, key, nil
}

// sayToken answers whoever connects, until the listener is closed.
func sayToken(listener net.Listener, token string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = fmt.Fprintln(connection, token) // it may have gone
		_ = connection.Close()
	}
}

// packEscape writes the battery into an archive, below name.
func packEscape(out *tar.Writer, name string) error {
	owner := templates.Outer(runnerID)
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
