package dockerx

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	rootfs = "/rootfs"
	home   = "/home/runner"
)

// madeAnew are the folders that each start covers with its own file systems: files that the
// engine writes there are not visible inside.
var madeAnew = []string{"/dev", "/proc", "/run", "/sys"}

// Send copies a folder into a runner that has not run a job yet, through the engine's archive
// API. pack writes the folder under the name that it gets. Missing folders on the way to
// target belong to owner, a uid and gid of the host. A target without a leading slash is
// below runner's home.
//
// The engine resolves target in the outer tree, where a symbolic link of the job rootfs would
// lead to another place. Send refuses such a target.
func (e *Engine) Send(ctx context.Context, runner fleet.Runner, target string, owner int, pack func(out *tar.Writer, name string) error) error {
	if !path.IsAbs(target) {
		target = path.Join(home, target)
	}
	target = path.Clean(target)
	for _, folder := range madeAnew {
		if target == folder || strings.HasPrefix(target, folder+"/") {
			return fmt.Errorf("%s: %s is recreated at each start", target, folder)
		}
	}
	there, missing, err := e.walk(ctx, runner, target)
	if err != nil {
		return err
	}
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		out := tar.NewWriter(writer)
		err := packBelow(out, missing, owner, pack)
		if err == nil {
			err = out.Close()
		}
		_ = writer.CloseWithError(err) // never fails
		packed <- err
	}()
	err = e.api.CopyToContainer(ctx, runner.ContainerID, rootfs+there, reader, container.CopyToContainerOptions{})
	_ = reader.Close()
	if packErr := <-packed; packErr != nil && err != nil && ctx.Err() == nil {
		return packErr // the cause of the engine's error
	}
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return nil
}

func packBelow(out *tar.Writer, missing []string, owner int, pack func(*tar.Writer, string) error) error {
	name := path.Join(missing...)
	for i := range missing {
		header := &tar.Header{Typeflag: tar.TypeDir, Name: path.Join(missing[:i+1]...) + "/", Mode: 0o755, Uid: owner, Gid: owner}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
	}
	if name == "" {
		name = "."
	}
	return pack(out, name)
}

// walk splits target into the part that exists, which has folders only, and the rest.
func (e *Engine) walk(ctx context.Context, runner fleet.Runner, target string) (there string, missing []string, err error) {
	parts := strings.FieldsFunc(target, func(r rune) bool { return r == '/' })
	there = "/"
	for i, part := range parts {
		found, err := e.api.ContainerStatPath(ctx, runner.ContainerID, rootfs+path.Join(there, part))
		switch {
		case cerrdefs.IsNotFound(err):
			return there, parts[i:], nil
		case err != nil:
			return "", nil, fmt.Errorf("%s: %w", target, err)
		case found.Mode&fs.ModeSymlink != 0:
			return "", nil, fmt.Errorf("%s: %s is a symbolic link in the image", target, path.Join(there, part))
		case !found.Mode.IsDir():
			return "", nil, fmt.Errorf("%s: %s is not a folder", target, path.Join(there, part))
		}
		there = path.Join(there, part)
	}
	return there, nil, nil
}
