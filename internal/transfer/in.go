package transfer

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

	"github.com/runnerctl/runnerctl/internal/archive"
)

// in copies from this machine into the runner.
func (c copying) in(ctx context.Context) (archive.Summary, error) {
	found, resolved, err := c.machine.find(ctx, c.To.Path)
	if err != nil {
		return archive.Summary{}, err
	}
	if c.From.Path == "-" {
		return c.streamIn(ctx, found)
	}
	source := c.From.Path
	if c.Follow {
		if source, err = filepath.EvalSymlinks(source); err != nil {
			return archive.Summary{}, err
		}
	}
	from := Place{Path: filepath.ToSlash(source)}
	info, err := os.Lstat(source)
	switch {
	case err != nil:
		return archive.Summary{}, err
	case info.IsDir() && found == aFile:
		return archive.Summary{}, errors.New("can't copy a folder to a file")
	case !info.IsDir() && strings.HasSuffix(from.Path, "/"):
		return archive.Summary{}, errors.New("the source is not a folder")
	}
	target := c.To.Path
	if found == aFile && resolved != "" {
		target = resolved // a link stays a link
	}
	base := filepath.Base(c.From.Path)
	dir, name := destine(found, target, base, info.IsDir() && from.contents(), path.Split)
	if !info.IsDir() && strings.HasSuffix(name, "/") {
		return archive.Summary{}, errors.New("no such folder")
	}
	return c.send(ctx, dir, func(out *tar.Writer) (archive.Summary, error) {
		return archive.Pack(out, source, name, 0)
	})
}

// streamIn unpacks a tar stream in the destination, which must be a folder.
func (c copying) streamIn(ctx context.Context, found string) (archive.Summary, error) {
	if found != aFolder {
		return archive.Summary{}, errors.New("a tar stream needs an existing folder")
	}
	return c.send(ctx, c.To.Path, func(out *tar.Writer) (archive.Summary, error) {
		in, err := archive.Stream(c.streams.In)
		if err != nil {
			return archive.Summary{}, fmt.Errorf("standard input: %w", err)
		}
		return archive.Copy(out, in, 0)
	})
}

// stdinGrace is how long a pack may take to end once its output is no longer read. A pack that
// waits for standard input does not end.
const stdinGrace = time.Second

// send runs pack and unpacks its output in dir, inside the machine.
func (c copying) send(ctx context.Context, dir string, pack func(*tar.Writer) (archive.Summary, error)) (archive.Summary, error) {
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
	err := c.machine.run(ctx, reader, io.Discard, "sh", "-c", unpackIn, "sh", dir)
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
