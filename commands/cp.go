package commands

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/archive"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type cpOptions struct {
	from, to place
	root     bool
	follow   bool // follow the source if it is a link
}

// place is one side of a copy.
type place struct {
	runner string // "" for this machine
	path   string // "-" for a tar stream
}

func (p place) String() string {
	if p.runner == "" {
		return p.path
	}
	return p.runner + ":" + p.path
}

// contents reports whether the path means the folder's contents, not the folder itself.
func (p place) contents() bool {
	base := path.Base(p.path)
	return base == "." || base == ".." || base == "/"
}

// parsePlace reads the text before the first colon as a runner's name, unless it looks like
// part of a path or like a Windows drive.
func parsePlace(text string) place {
	name, rest, found := strings.Cut(text, ":")
	if !found || len(name) < 2 || strings.ContainsAny(name, `./\`) {
		return place{path: text}
	}
	return place{runner: name, path: atHome(rest)}
}

// atHome returns a path in a runner; paths that are not absolute are relative to the home
// folder, as with scp.
func atHome(path string) string {
	path = strings.TrimPrefix(path, "~/")
	if path == "" || path == "~" {
		return "."
	}
	return path
}

func cpCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "cp",
		Category:  "Look inside",
		Usage:     "copy files between a runner and this machine",
		ArgsUsage: "SRC DST (one of them NAME:PATH)",
		Description: "Works like docker cp: a folder is copied into an existing folder, or created as DST; SRC/. means the contents of SRC;\n" +
			"- is a tar stream. Relative paths in a runner start at the home folder of its user runner. Files copied in belong to runner\n" +
			"(with --root: to root), files copied out belong to you.\n\nExamples:\n" +
			"   runnerctl cp ci-7k2p:work/report.xml .\n" +
			"   runnerctl cp src ci-7k2p:work\n" +
			"   runnerctl cp ci-7k2p:/var/log - | tar -t",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "root", Usage: "read and write as root of the runner (an unprivileged user on the host)"},
			&cli.BoolFlag{Name: "follow-link", Aliases: []string{"L"}, Usage: "if SRC is a symbolic link, copy its target"},
		},
		Action: func(c *cli.Context) error {
			wrong := func(problem string) error { return &cmdline.UsageError{Command: "cp", Problem: problem} }
			if c.NArg() != 2 {
				return wrong("specify a source and a destination: runnerctl cp SRC DST")
			}
			options := cpOptions{from: parsePlace(c.Args().Get(0)), to: parsePlace(c.Args().Get(1)), root: c.Bool("root"), follow: c.Bool("follow-link")}
			switch {
			case options.from.runner == "" && options.to.runner == "":
				return wrong("the source or the destination must be in a runner: NAME:PATH")
			case options.from.runner != "" && options.to.runner != "":
				return wrong("the source or the destination must be on this machine")
			case options.from.path == "" || options.to.path == "":
				return wrong("a path is missing")
			case options.to.runner == "" && options.to.path == "-" && s.Streams.OutTTY:
				return wrong("refusing to write a tar stream to a terminal: redirect or pipe it")
			}
			return runCp(c.Context, s, options)
		},
	}, arguments: cmdline.Candidates{Kind: flags.RunnerNames, Suffix: ":", Files: true, Most: 2}}
}

// runCp streams tar through a command inside the runner's machine, not through the engine's
// archive API. That API resolves paths from outside, so a symbolic link made by a job
// (/var/run → /run is enough) would lead into the outer tree. It also sees none of the
// machine's own mounts. Inside, the kernel resolves each path in the job root filesystem and
// with the rights of the user runner.
func runCp(ctx context.Context, s session.Session, options cpOptions) error {
	engine, runner, err := s.FindRunner(ctx, options.from.runner+options.to.runner)
	if err != nil {
		return err
	}
	defer engine.Close()
	if runner.State != fleet.Running {
		return notRunning(runner)
	}
	machine := inside{engine, runner, options.root}
	var summary archive.Summary
	if options.from.runner != "" {
		summary, err = copyOut(ctx, s, machine, options)
	} else {
		summary, err = copyIn(ctx, s, machine, options)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("copy %s to %s: %w", options.from, options.to, err)
	}
	tellSkipped(s, summary)
	fmt.Fprintf(s.Streams.Err, "copied %d file%s (%s) to %s\n", summary.Files, ui.Plural(summary.Files), ui.Bytes(summary.Bytes), options.to)
	return nil
}

func tellSkipped(s session.Session, summary archive.Summary) {
	const most = 10
	for _, one := range summary.Skipped[:min(most, len(summary.Skipped))] {
		fmt.Fprintf(s.Streams.Err, "skipped %s\n", ui.Plain(one))
	}
	if more := len(summary.Skipped) - most; more > 0 {
		fmt.Fprintf(s.Streams.Err, "skipped %d more\n", more)
	}
}

// inside runs commands in a runner's machine.
type inside struct {
	engine *dockerx.Engine
	runner fleet.Runner
	root   bool
}

// run returns the error output of a failed command as its error.
func (m inside) run(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	stderr := &dockerx.Head{Limit: 64 << 10}
	code, err := m.engine.Exec(ctx, m.runner, dockerx.Command{Args: args, Root: m.root, Stdin: stdin, Stdout: stdout, Stderr: stderr})
	if err != nil || code == 0 {
		return err
	}
	for line := range strings.Lines(stderr.String()) {
		if line = ui.Plain(strings.TrimSpace(line)); line != "" {
			return errors.New(strings.TrimPrefix(line, "tar: "))
		}
	}
	return fmt.Errorf("%s: exit code %d", args[0], code)
}

// These are the possible states of the destination of a copy.
const (
	nothing  = "nothing"
	aFile    = "file"
	aFolder  = "folder"
	probe    = `if [ -d "$1" ]; then echo folder; elif [ -e "$1" ] || [ -L "$1" ]; then echo file; else echo nothing; fi; readlink -f -- "$1" || true`
	unpackIn = `export LC_ALL=C.UTF-8
exec tar -x -p --no-same-owner --no-overwrite-dir -f - -C "$1"`
	packOut = `export LC_ALL=C.UTF-8
path=$1
[ "$2" = no ] || path=$(readlink -e -- "$path") || { echo "$1: no such file or folder" >&2; exit 2; }
if [ "$3" = yes ]; then dir=$path base=.; else dir=$(dirname -- "$path") base=$(basename -- "$path"); fi
code=0
tar -c --format=posix --hard-dereference -f - -C "$dir" -- "$base" || code=$?
[ "$code" -ne 1 ] || exit 0 # a file that grew meanwhile: a log
exit "$code"`
)

// destine returns the folder and the name for the copy of a file or folder called base. The
// name is "." if a folder's contents go into an existing folder, and ends with a slash if only
// a folder is allowed. split separates the last element from a path.
func destine(found, to, base string, contents bool, split func(string) (string, string)) (dir, name string) {
	switch {
	case found == aFolder && contents:
		return to, "."
	case found == aFolder:
		return to, base
	}
	trimmed := strings.TrimRight(to, "/")
	if dir, name = split(trimmed); dir == "" {
		dir = "."
	}
	if trimmed != to {
		name += "/"
	}
	return dir, name
}

func copyIn(ctx context.Context, s session.Session, machine inside, options cpOptions) (archive.Summary, error) {
	var answer dockerx.Head
	answer.Limit = 64 << 10
	if err := machine.run(ctx, nil, &answer, "sh", "-c", probe, "sh", options.to.path); err != nil {
		return archive.Summary{}, err
	}
	found, resolved, _ := strings.Cut(strings.TrimSuffix(answer.String(), "\n"), "\n")
	if options.from.path == "-" {
		if found != aFolder {
			return archive.Summary{}, errors.New("a tar stream needs an existing folder")
		}
		return send(ctx, machine, options.to.path, func(out *tar.Writer) (archive.Summary, error) {
			in, err := archive.Stream(s.Streams.In)
			if err != nil {
				return archive.Summary{}, fmt.Errorf("standard input: %w", err)
			}
			return archive.Copy(out, in, 0)
		})
	}
	source := options.from.path
	if options.follow {
		var err error
		if source, err = filepath.EvalSymlinks(source); err != nil {
			return archive.Summary{}, err
		}
	}
	from := place{path: filepath.ToSlash(source)}
	info, err := os.Lstat(source)
	switch {
	case err != nil:
		return archive.Summary{}, err
	case info.IsDir() && found == aFile:
		return archive.Summary{}, errors.New("can't copy a folder to a file")
	case !info.IsDir() && strings.HasSuffix(from.path, "/"):
		return archive.Summary{}, errors.New("the source is not a folder")
	}
	target := options.to.path
	if found == aFile && resolved != "" {
		target = resolved // a link stays a link
	}
	base := filepath.Base(options.from.path)
	dir, name := destine(found, target, base, info.IsDir() && from.contents(), path.Split)
	if !info.IsDir() && strings.HasSuffix(name, "/") {
		return archive.Summary{}, errors.New("no such folder")
	}
	return send(ctx, machine, dir, func(out *tar.Writer) (archive.Summary, error) {
		return archive.Pack(out, source, name, 0)
	})
}

// stdinGrace is how long a pack may take to end once its output is no longer read. A pack that
// waits for standard input does not end.
const stdinGrace = time.Second

// send runs pack and unpacks its output in dir, inside the machine.
func send(ctx context.Context, machine inside, dir string, pack func(*tar.Writer) (archive.Summary, error)) (archive.Summary, error) {
	type outcome struct {
		summary archive.Summary
		err     error
	}
	reader, writer := io.Pipe()
	packed := make(chan outcome, 1)
	go func() {
		out := tar.NewWriter(writer)
		summary, err := pack(out)
		if err == nil {
			err = out.Close()
		}
		_ = writer.CloseWithError(err) // never fails
		packed <- outcome{summary, err}
	}()
	err := machine.run(ctx, reader, io.Discard, "sh", "-c", unpackIn, "sh", dir)
	_ = reader.Close() // ends pack if its output is no longer read
	select {
	case done := <-packed:
		if done.err != nil && !errors.Is(done.err, io.ErrClosedPipe) {
			err = done.err
		}
		return done.summary, err
	case <-time.After(stdinGrace):
		return archive.Summary{}, err
	}
}

func copyOut(ctx context.Context, s session.Session, machine inside, options cpOptions) (archive.Summary, error) {
	source := strings.TrimRight(options.from.path, "/")
	if source == "" {
		source = "/"
	}
	yesNo := map[bool]string{true: "yes", false: "no"}
	pack := []string{"sh", "-c", packOut, "sh", source, yesNo[options.follow], yesNo[options.from.contents()]}

	unpack := func(in io.Reader) (archive.Summary, error) {
		out := tar.NewWriter(s.Streams.Out)
		summary, err := archive.Copy(out, tar.NewReader(in), 0)
		if err == nil {
			err = out.Close()
		}
		return summary, err
	}
	if options.to.path != "-" {
		target, found := options.to.path, nothing
		if info, err := os.Stat(target); err == nil && info.IsDir() {
			found = aFolder
		} else if err == nil {
			found = aFile
			if target, err = filepath.EvalSymlinks(target); err != nil { // a link stays a link
				return archive.Summary{}, err
			}
		}
		dir, name := destine(found, target, path.Base(source), options.from.contents(), filepath.Split)
		unpack = func(in io.Reader) (archive.Summary, error) { return archive.Unpack(in, dir, name) }
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Without an error the reader sees the stream's end. Never fails.
		_ = writer.CloseWithError(machine.run(ctx, nil, writer, pack...))
	}()
	summary, err := unpack(reader)
	if err == nil || errors.Is(err, archive.ErrEmpty) {
		// tar pads its last block; its exit code and error output come after that.
		switch _, rest := io.CopyN(io.Discard, reader, 1<<20); {
		case rest == nil:
			err = errors.New("the stream continues after the end of the archive")
		case !errors.Is(rest, io.EOF):
			err = rest
		}
	}
	_ = reader.CloseWithError(err) // never fails
	cancel()                       // stops the command if it still runs
	<-ended
	return summary, err
}
