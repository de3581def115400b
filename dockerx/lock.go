package dockerx

import (
	"context"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// unstartedLimit is how long a lock may take from being made to running.
const unstartedLimit = 20 * time.Second

// Lock makes sure that one runnerctl at a time changes a fleet, from whichever
// machine. image is any runner image. waiting is called once if another holds
// the lock.
func (e *Engine) Lock(ctx context.Context, fleetName, image string, waiting func()) (unlock func(), err error) {
	held, err := e.hold(ctx, "runnerctl-lock-"+fleetName, ownLabels(fleetName, roleLock), image, waiting)
	if err != nil {
		return nil, fmt.Errorf("fleet %s: lock: %w", fleetName, err)
	}
	return held.release, nil
}

// Hold tells every runnerctl that a throw-away runner is somebody's: prune leaves
// it alone until this process has released it or died.
func (e *Engine) Hold(ctx context.Context, fleetName, runner, image string) (release func(), err error) {
	labels := ownLabels(fleetName, roleHold)
	labels[labelRunner] = runner
	held, err := e.hold(ctx, "runnerctl-hold-"+runner, labels, image, func() {})
	if err != nil {
		return nil, fmt.Errorf("runner %s: hold: %w", runner, err)
	}
	return held.release, nil
}

// holding is a container that lives as long as this process.
type holding struct {
	id      string
	release func()
}

// hold makes a container of a fixed name that lives as long as this process
// holds its standard input: if the process dies in any way, the connection
// closes, the container ends and the engine removes it, so that none goes stale.
// It runs the cat of image.
func (e *Engine) hold(ctx context.Context, name string, labels map[string]string, image string, waiting func(), mounts ...mount.Mount) (holding, error) {
	config := &container.Config{
		// Not as the runners: processes are counted by user, and where these have used up
		// what the engine allows, they are to be changed all the same.
		Image: image, User: "65534:65534", Labels: labels,
		Entrypoint: []string{"/bin/cat"}, Cmd: []string{}, OpenStdin: true, StdinOnce: true, AttachStdin: true,
		Volumes: map[string]struct{}{},
	}
	host := &container.HostConfig{
		AutoRemove: true, NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges"}, LogConfig: container.LogConfig{Type: "none"}, Mounts: mounts,
		Tmpfs: map[string]string{dataRoot: "size=4k"}, // else the image's VOLUME makes an anonymous one
	}
	var id string
	for told := false; ; {
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
		response, err := e.api.ContainerCreate(whole, config, host, nil, nil, name)
		cancel()
		if err == nil {
			id = response.ID
			break
		}
		if !cerrdefs.IsConflict(err) {
			return holding{}, err
		}
		if err := e.clearUnstarted(ctx, name, labels[labelRole]); err != nil {
			return holding{}, err
		}
		if !told {
			waiting()
			told = true
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
		_ = e.api.ContainerRemove(bounded, id, container.RemoveOptions{Force: true, RemoveVolumes: true}) // or it removed itself
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
		// In this order: once its input is closed the engine removes it by itself,
		// and remove would not wait for that.
		remove()
		attached.Close()
	}}, nil
}

// clearUnstarted removes a lock whose holder died between making and starting
// it, or whose engine was restarted: only a running one has a holder.
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

// foreignError is met where a name that runnerctl needs is somebody else's.
type foreignError struct{ name string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("the container %s is not runnerctl's", e.name)
}

// Hint says what to do.
func (e *foreignError) Hint() string {
	return "rename or remove it, or choose another name for the fleet (--fleet)"
}
