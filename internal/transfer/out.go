package transfer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/runnerctl/runnerctl/internal/archive"
)

// out copies from the runner to this machine.
func (c copying) out(ctx context.Context) (archive.Summary, error) {
	source := strings.TrimRight(c.From.Path, "/")
	if source == "" {
		source = "/"
	}
	yesNo := map[bool]string{true: "yes", false: "no"}
	pack := []string{"sh", "-c", packOut, "sh", source, yesNo[c.Follow], yesNo[c.From.contents()]}
	if c.To.Path == "-" {
		return c.receive(ctx, pack, c.streamOut)
	}
	target, found := c.To.Path, nothing
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		found = aFolder
	} else if err == nil {
		found = aFile
		if target, err = filepath.EvalSymlinks(target); err != nil { // a link stays a link
			return archive.Summary{}, err
		}
	}
	dir, name := destine(found, target, path.Base(source), c.From.contents(), filepath.Split)
	return c.receive(ctx, pack, func(in io.Reader) (archive.Summary, error) { return archive.Unpack(in, dir, name) })
}

// streamOut writes a cleaned copy of a tar stream to standard output.
func (c copying) streamOut(in io.Reader) (archive.Summary, error) {
	out := tar.NewWriter(c.streams.Out)
	summary, err := archive.Copy(out, tar.NewReader(in), 0)
	if err == nil {
		err = out.Close()
	}
	return summary, err
}

// receive runs the command pack inside the machine and unpacks its output.
func (c copying) receive(ctx context.Context, pack []string, unpack func(io.Reader) (archive.Summary, error)) (archive.Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Without an error the reader sees the stream's end. Never fails.
		_ = writer.CloseWithError(c.machine.run(ctx, nil, writer, pack...))
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
