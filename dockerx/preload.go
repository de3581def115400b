package dockerx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// PreloadName names the runner that fetches images and tools for others. An empty volume of the same name
// exists once it has done so. Another runner image may have another Docker.
func PreloadName(runnerImage string, contents []string) string {
	sum := sha256.Sum256([]byte(strings.Join(append(slices.Sorted(slices.Values(contents)), runnerImage), "\n")))
	return "runnerctl-preload-" + hex.EncodeToString(sum[:])[:12]
}

// Preloaded returns the volume with the images that the runner of that name pulled; "" if it is
// not complete.
func (e *Engine) Preloaded(ctx context.Context, name string) (data string, err error) {
	exists, err := e.ownsVolume(ctx, name, rolePreload)
	if err != nil || !exists {
		return "", err
	}
	return volumeName(name), nil
}

// KeepPreload ends a runner that has pulled images, and keeps its volume for others.
func (e *Engine) KeepPreload(ctx context.Context, runner fleet.Runner) error {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	if err := e.api.ContainerStop(whole, runner.ContainerID, container.StopOptions{}); err != nil {
		return fmt.Errorf("runner %s: stop: %w", runner.Name, err)
	}
	if err := e.api.ContainerRemove(whole, runner.ContainerID, container.RemoveOptions{Force: true}); err != nil {
		return fmt.Errorf("runner %s: remove container: %w", runner.Name, err)
	}
	labels := ownLabels("", rolePreload)
	labels[labelImageID] = runner.ImageID
	if _, err := e.api.VolumeCreate(whole, volume.CreateOptions{Name: runner.Name, Labels: labels}); err != nil {
		return fmt.Errorf("volume %s: %w", runner.Name, err)
	}
	return nil
}

// preloadVolumes lists the volumes with images for new daemons, complete or not.
func (e *Engine) preloadVolumes(ctx context.Context) (names []string, err error) {
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelRole+"="+rolePreload))})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	for _, one := range list.Volumes {
		if checkSchema("", one.Labels) == nil {
			names = append(names, one.Name)
		}
	}
	return names, nil
}

// removePreloads removes the volumes with images for new daemons. A volume that a runner has mounted
// stays, with its mark.
func (e *Engine) removePreloads(ctx context.Context) error {
	names, err := e.preloadVolumes(ctx)
	failures := []error{err}
	// The data first: a volume without its mark is not used, and prune removes it.
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	mounted := map[string]bool{}
	for _, name := range names {
		if mounted[volumeName(name)] {
			continue
		}
		err := e.removeOwnVolume(ctx, name, rolePreload)
		if cerrdefs.IsConflict(err) {
			mounted[name] = true
		} else {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
