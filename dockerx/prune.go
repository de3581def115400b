package dockerx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/prune"
)

// Inventory lists runnerctl's objects on the engine. It leaves out objects without
// runnerctl's labels, and objects that a newer runnerctl created. Sizes make the engine walk
// through its disk.
func (e *Engine) Inventory(ctx context.Context, sizes bool) (all prune.Inventory, err error) {
	all.InUse = map[string][]string{}
	var usage bytesOf
	if sizes {
		if usage, err = e.usage(ctx); err != nil {
			return all, err
		}
	}
	// List volumes before containers: to create a runner, runnerctl takes a lock, then
	// creates the volume, then the container. So a volume found here belongs to a lock or a
	// container found below, or it has no owner.
	volumes, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelRole))})
	if err != nil {
		return all, fmt.Errorf("list volumes: %w", err)
	}
	for _, one := range volumes.Volumes {
		if checkSchema("", one.Labels) == nil {
			all.Volumes = append(all.Volumes, prune.Volume{
				Name: one.Name, Fleet: one.Labels[labelFleet], Role: fleet.Role(one.Labels[labelRole]), Runner: one.Labels[labelRunner], Image: one.Labels[labelImageID], Size: usage.volumes[one.Name],
			})
		}
	}
	images, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", LabelImage))})
	if err != nil {
		return all, fmt.Errorf("list images: %w", err)
	}
	for _, one := range images {
		tags := one.RepoTags
		if len(tags) == 1 && tags[0] == "<none>:<none>" { // engines before 28
			tags = nil
		}
		all.Images = append(all.Images, prune.Image{ID: one.ID, Tags: tags, Created: time.Unix(one.Created, 0), Size: usage.images[one.ID]})
	}
	probes, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelRole+"="+string(fleet.Probe)))})
	if err != nil {
		return all, fmt.Errorf("list images: %w", err)
	}
	for _, one := range probes {
		if isProbe(one) {
			all.Probes = append(all.Probes, prune.Image{ID: one.ID, Tags: one.RepoTags, Created: time.Unix(one.Created, 0), Size: usage.images[one.ID]})
		}
	}
	supervisors, err := e.supervisorImages(ctx)
	if err != nil {
		return all, err
	}
	for _, one := range supervisors {
		all.Supervisors = append(all.Supervisors, prune.Image{ID: one.ID, Tags: one.RepoTags, Created: time.Unix(one.Created, 0), Size: usage.images[one.ID]})
	}
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return all, fmt.Errorf("list containers: %w", err)
	}
	for _, one := range containers {
		name := strings.TrimPrefix(one.Names[0], "/")
		all.InUse[one.ImageID] = append(all.InUse[one.ImageID], name)
		role := one.Labels[labelRole]
		if role == "" || checkSchema("", one.Labels) != nil || runnerRoles[role] && !isRunner(one) || !runnerRoles[role] && !strings.HasPrefix(name, "runnerctl-") {
			continue
		}
		all.Containers = append(all.Containers, prune.Container{
			Name: name, ID: one.ID, Fleet: one.Labels[labelFleet], Role: fleet.Role(role), Runner: one.Labels[labelRunner],
			State: fleet.State(one.State), Created: time.Unix(one.Created, 0), Size: usage.containers[one.ID],
		})
	}
	all.Now, err = e.now(ctx)
	return all, err
}

// now returns the time on the engine's machine, whose clock dates the objects there.
func (e *Engine) now(ctx context.Context) (time.Time, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("engine: %w", err)
	}
	return time.Parse(time.RFC3339Nano, info.SystemTime)
}

// bytesOf holds the disk space that each object takes, by id or name.
type bytesOf struct{ images, containers, volumes map[string]int64 }

func (e *Engine) usage(ctx context.Context) (bytesOf, error) {
	of := bytesOf{map[string]int64{}, map[string]int64{}, map[string]int64{}}
	var usage types.DiskUsage
	for {
		var err error
		usage, err = e.api.DiskUsage(ctx, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.ImageObject, types.ContainerObject, types.VolumeObject}})
		if err == nil {
			break
		}
		// Engines before 23 compute disk usage for one client at a time.
		if !strings.Contains(err.Error(), "disk usage operation is already running") {
			return of, fmt.Errorf("disk usage: %w", err)
		}
		select {
		case <-ctx.Done():
			return of, ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
	for _, one := range usage.Images {
		of.images[one.ID] = one.Size - max(0, one.SharedSize)
	}
	for _, one := range usage.Containers {
		of.containers[one.ID] = one.SizeRw
	}
	for _, one := range usage.Volumes {
		if one.UsageData != nil {
			of.volumes[one.Name] = max(0, one.UsageData.Size)
		}
	}
	return of, nil
}

// Prune carries out one removal. It is not an error if the object is already gone.
func (e *Engine) Prune(ctx context.Context, removal prune.Removal) error {
	var err error
	switch removal.Kind {
	case prune.KindContainer:
		if removal.Force {
			return e.Discard(ctx, removal.Name)
		}
		err = e.api.ContainerRemove(ctx, removal.ID, container.RemoveOptions{RemoveVolumes: true})
		if err == nil || cerrdefs.IsNotFound(err) {
			return e.removeVolume(ctx, removal.Name)
		}
	case prune.KindVolume:
		err = e.api.VolumeRemove(ctx, removal.Name, false)
	case prune.KindImage:
		references := removal.Tags
		if len(references) == 0 {
			references = []string{removal.ID}
		}
		for _, reference := range references {
			_, one := e.api.ImageRemove(ctx, reference, image.RemoveOptions{PruneChildren: true})
			if !cerrdefs.IsNotFound(one) {
				err = errors.Join(err, one)
			}
		}
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("%s %s: %w", removal.Kind, removal.Name, err)
	}
	return nil
}
