package dockerx

import (
	"context"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// unstartedLimit is how long a lock's container may take from creation to start.
const unstartedLimit = 20 * time.Second

// Lock ensures that only one runnerctl at a time changes a fleet, from any machine. image is
// any runner image. waiting is called once if another process holds the lock.
func (e *Engine) Lock(ctx context.Context, fleetName, image string, waiting func()) (unlock func(), err error) {
	held, err := e.hold(ctx, hold{name: "runnerctl-lock-" + fleetName, labels: ownLabels(fleetName, roleLock), image: image}, waiting)
	if err != nil {
		return nil, fmt.Errorf("fleet %s: lock: %w", fleetName, err)
	}
	return held.release, nil
}

// Hold marks a throw-away runner as in use for every runnerctl: prune leaves it alone until
// this process has released it or died.
func (e *Engine) Hold(ctx context.Context, fleetName, runner, image string) (release func(), err error) {
	labels := ownLabels(fleetName, roleHold)
	labels[labelRunner] = runner
	held, err := e.hold(ctx, hold{name: "runnerctl-hold-" + runner, labels: labels, image: image}, func() {})
	if err != nil {
		return nil, fmt.Errorf("runner %s: hold: %w", runner, err)
	}
	return held.release, nil
}

// hold describes a holding.
type hold struct {
	name   string
	labels map[string]string
	image  string
	mounts []mount.Mount
}

// holding is a container that lives as long as this process.
type holding struct {
	id      string
	release func()
}

// hold creates a container with a fixed name that lives as long as this process holds its
// standard input. If the process dies in any way, the connection closes, the container ends
// and the engine removes it, so no lock goes stale. The container runs the image's cat. With
// NetworkDisabled the engine runs none of its own programs for a network, so the container
// starts in half the time.
func (e *Engine) hold(ctx context.Context, of hold, waiting func()) (holding, error) {
	config := &container.Config{
		// Not the runners' user: processes are counted per user, and a fleet must still be
		// changeable after its runners have reached the engine's limit.
		Image: of.image, User: "65534:65534", Labels: of.labels,
		Entrypoint: []string{"/bin/cat"}, Cmd: []string{}, OpenStdin: true, StdinOnce: true, AttachStdin: true,
		Volumes: map[string]struct{}{}, NetworkDisabled: true,
	}
	host := &container.HostConfig{
		AutoRemove: true, NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges"}, LogConfig: container.LogConfig{Type: "none"}, Mounts: of.mounts,
		Tmpfs: map[string]string{dataRoot: "size=4k"}, // else the image's VOLUME would create an anonymous volume
	}
	var id string
	for announced := false; ; {
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
		response, err := e.api.ContainerCreate(whole, config, host, nil, nil, of.name)
		cancel()
		if err == nil {
			id = response.ID
			break
		}
		if !cerrdefs.IsConflict(err) {
			return holding{}, err
		}
		if err := e.clearUnstarted(ctx, of.name, of.labels[labelRole]); err != nil {
			return holding{}, err
		}
		if !announced {
			waiting()
			announced = true
		}
		select {
		case <-ctx.Done():
			return holding{}, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	remove := func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		// It fails if the container has removed itself.
		_ = e.api.ContainerRemove(bounded, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}
	attached, err := e.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true})
	if err != nil {
		remove()
		return holding{}, err
	}
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		attached.Close()
		remove()
		return holding{}, err
	}
	return holding{id: id, release: func() {
		// Remove first: once the input is closed, the engine removes the container by itself,
		// and remove would not wait for that.
		remove()
		attached.Close()
	}}, nil
}

// clearUnstarted removes a lock whose holder died between creating and starting it, or whose
// engine was restarted: only a running lock has a holder.
func (e *Engine) clearUnstarted(ctx context.Context, name, role string) error {
	info, err := e.api.ContainerInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Config.Labels[labelRole] != role {
		return &foreignError{name}
	}
	created, err := time.Parse(time.RFC3339Nano, info.Created)
	if err != nil || info.State.Running || time.Since(created) < unstartedLimit {
		return err
	}
	if err := e.api.ContainerRemove(ctx, info.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
		return err
	}
	return nil
}

// foreignError means that a container that is not runnerctl's has a name that runnerctl
// needs.
type foreignError struct{ name string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("the container %s is not runnerctl's", e.name)
}

// Hint returns advice for the user.
func (e *foreignError) Hint() string {
	return "rename or remove it, or choose another name for the fleet (--fleet)"
}
