package dockerx

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// ImageTree hands read the tar of an image's whole tree. user is what the image
// starts as. The container that this takes never runs.
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
		for path := range info.Config.Volumes { // else each makes an anonymous one
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
