package dockerx

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// ArchError means that the engine's machine can't run an image.
type ArchError struct{ Reference, Image, Machine string }

func (e *ArchError) Error() string {
	return fmt.Sprintf("image %s is made for %s, the engine's machine is %s", e.Reference, e.Image, e.Machine)
}

// Hint returns advice for the user.
func (e *ArchError) Hint() string {
	return "remove it there: up builds an image for each architecture from a base of the same architecture; docker pull --platform linux/" + e.Machine + " pulls such a base"
}

// Fits refuses an image of another architecture. Such an image fails with "exec format
// error", but only when one of its programs is started.
func (e *Engine) Fits(ctx context.Context, reference string) error {
	info, err := e.api.ImageInspect(ctx, reference)
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	return e.fits(ctx, reference, info.Architecture)
}

func (e *Engine) fits(ctx context.Context, reference, architecture string) error {
	version, err := e.api.ServerVersion(ctx)
	if err != nil {
		return fmt.Errorf("engine version: %w", err)
	}
	if !runs(version.Arch, architecture) {
		return &ArchError{reference, architecture, version.Arch}
	}
	return nil
}

// runs reports whether a machine runs an image: one of its own architecture, one without an
// architecture, or its 32-bit kind.
func runs(machine, image string) bool {
	return image == machine || image == "" || machine == "amd64" && image == "386" || machine == "arm64" && image == "arm"
}

// ImageTree passes the tar of an image's whole file tree to read. user is the user that the
// image starts as. The container that this needs never runs.
func (e *Engine) ImageTree(ctx context.Context, reference, fleetName string, read func(user string, tree io.Reader) error) (err error) {
	info, err := e.api.ImageInspect(ctx, reference)
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	config := &container.Config{Image: info.ID, Labels: ownLabels(fleetName, string(fleet.Probe)), Entrypoint: []string{"/nosuch"}, Cmd: []string{}, Volumes: map[string]struct{}{}}
	host := &container.HostConfig{NetworkMode: "none", CapDrop: []string{"ALL"}, Tmpfs: map[string]string{}}
	user := ""
	if info.Config != nil {
		user = info.Config.User
		for path := range info.Config.Volumes { // else each would create an anonymous volume
			host.Tmpfs[path] = "size=4k"
		}
	}
	whole := context.WithoutCancel(ctx)
	name := probeName + randomName()
	made, err := e.createProbe(whole, config, host, name)
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	defer func() {
		if left := e.removeProbe(whole, made.ID, name); left != nil {
			err = errors.Join(err, left)
		}
	}()
	tree, err := e.api.ContainerExport(ctx, made.ID)
	if err != nil {
		return fmt.Errorf("image %s: export: %w", reference, err)
	}
	defer tree.Close()
	return read(user, tree)
}
