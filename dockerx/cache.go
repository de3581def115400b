package dockerx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/runnerctl/runnerctl/internal/machine"
)

const (
	cacheName   = "runnerctl-cache"        // of the container and of its volume
	cacheSocket = "runnerctl-cache-socket" // volume that runners see
	// volume with the archives of actions, which runners see
	cacheArchives = "runnerctl-cache-archives"
	// volume with tools of the setup actions, which runners see
	cacheTools = "runnerctl-cache-tools"
	// ArchivesFolder is the folder of the archives in the cache's container.
	ArchivesFolder = "/archives"
	// CacheFolder is the folder of a cache's entries in its container.
	CacheFolder = "/cache"

	cacheStop   = 10        // seconds; a finished entry is durable
	cacheMemory = 512 << 20 // bytes, most of them for the files that it serves
	cachePids   = 512

	startAttempts = 10 // after a conflict with another fleet, or with prune
	startPause    = 500 * time.Millisecond
)

var cacheVolumes = []string{cacheName, cacheSocket, cacheArchives, cacheTools}

// CacheOptions describes the cache of an engine's machine: a container with one program.
type CacheOptions struct {
	Program string   // file: static, for the engine's OS and architecture
	Roots   []byte   // PEM: the certificate authorities that it trusts
	Command []string // arguments of the program
}

// cacheConfig is the security model of the cache's container. It holds nothing but runnerctl's own
// program, and has no capability and no socket of the engine. It listens on no network: runners
// reach its socket through a volume. It asks only hosts of its command. Golden-tested.
func cacheConfig(options CacheOptions, reference string) (*container.Config, *container.HostConfig) {
	stop, pids := cacheStop, int64(cachePids)
	config := &container.Config{
		Image: reference, User: "0:0", Labels: ownLabels("", roleCache),
		Entrypoint: append([]string{supervisorProgram}, options.Command...), Cmd: []string{}, StopTimeout: &stop,
	}
	host := &container.HostConfig{
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: true,
		NetworkMode:    "host", // it reaches GitHub and registries as the host does
		Mounts: []mount.Mount{
			{Type: mount.TypeVolume, Source: cacheName, Target: CacheFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
			{Type: mount.TypeVolume, Source: cacheArchives, Target: ArchivesFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
			{Type: mount.TypeVolume, Source: cacheSocket, Target: machine.CacheFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
		},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		Resources:     container.Resources{Memory: cacheMemory, PidsLimit: &pids},
	}
	return config, host
}

// CacheState describes the cache of an engine's machine.
type CacheState struct {
	ContainerID string // "" if there is no cache
	Running     bool
	Restarts    int // by the engine, after it ended
	ExitCode    int // of its last end
	Image       string
	Command     []string
}

// Cache looks up the cache.
func (e *Engine) Cache(ctx context.Context) (CacheState, error) {
	info, err := e.api.ContainerInspect(ctx, cacheName)
	if cerrdefs.IsNotFound(err) {
		return CacheState{}, nil
	}
	if err != nil {
		return CacheState{}, fmt.Errorf("cache: %w", err)
	}
	if info.Config.Labels[labelRole] != roleCache {
		return CacheState{}, fmt.Errorf("cache: %w", &foreignError{cacheName})
	}
	if err := checkSchema("container "+cacheName, info.Config.Labels); err != nil {
		return CacheState{}, err
	}
	return CacheState{ContainerID: info.ID, Running: info.State.Running || info.State.Restarting, Restarts: info.RestartCount, ExitCode: info.State.ExitCode, Image: info.Config.Image, Command: info.Config.Entrypoint[1:]}, nil
}

// StartCache starts the cache. A cache that runs with the same program and command stays; any other
// is replaced, and runners notice only a pause.
func (e *Engine) StartCache(ctx context.Context, options CacheOptions) error {
	for _, name := range cacheVolumes {
		if err := e.ensureVolume(ctx, "", name, roleCache); err != nil {
			return err
		}
	}
	return e.withProgramImage(ctx, options.Program, options.Roots, func(reference string) error {
		for attempt := 0; ; attempt++ {
			err := e.startCache(ctx, options, reference)
			if !cerrdefs.IsConflict(err) || attempt == startAttempts {
				return err
			}
			select { // another fleet starts it at this moment
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(startPause):
			}
		}
	})
}

func (e *Engine) startCache(ctx context.Context, options CacheOptions, reference string) error {
	found, err := e.Cache(ctx)
	if err != nil {
		return err
	}
	if found.Running && found.Image == reference && slices.Equal(found.Command, options.Command) {
		return nil
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createLimit)
	defer cancel()
	if err := e.stopCache(whole, found); err != nil {
		return err
	}
	config, host := cacheConfig(options, reference)
	made, err := e.api.ContainerCreate(whole, config, host, nil, nil, cacheName)
	if err != nil {
		return fmt.Errorf("cache: create container: %w", err)
	}
	if err := e.api.ContainerStart(whole, made.ID, container.StartOptions{}); err != nil {
		left := e.api.ContainerRemove(whole, made.ID, container.RemoveOptions{Force: true})
		return errors.Join(fmt.Errorf("cache: start container: %w", err), left)
	}
	return nil
}

// CacheParts lists the existing parts of the cache: its container or its entries, the volumes of its
// socket, of archives and of tools, and those with images for new daemons.
func (e *Engine) CacheParts(ctx context.Context) (names []string, err error) {
	found, err := e.Cache(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range cacheVolumes {
		exists, err := e.ownsVolume(ctx, name, roleCache)
		if err != nil {
			return nil, err
		}
		if exists || name == cacheName && found.ContainerID != "" {
			names = append(names, name)
		}
	}
	preloads, err := e.preloadVolumes(ctx)
	return append(names, preloads...), err
}

// RemoveCache ends the cache, removes its parts and returns their names. It is not an error if there is
// none. Volumes that runners have mounted stay.
func (e *Engine) RemoveCache(ctx context.Context) (removed []string, err error) {
	before, err := e.CacheParts(ctx)
	if err != nil {
		return nil, err
	}
	found, err := e.Cache(ctx)
	if err != nil {
		return nil, err
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeLimit)
	defer cancel()
	if err := e.stopCache(whole, found); err != nil {
		return nil, err
	}
	failures := []error{e.removeOwnVolume(whole, cacheName, roleCache)}
	for _, name := range []string{cacheSocket, cacheArchives, cacheTools} {
		if err := e.removeOwnVolume(whole, name, roleCache); !cerrdefs.IsConflict(err) {
			failures = append(failures, err)
		}
	}
	failures = append(failures, e.removePreloads(whole))
	left, err := e.CacheParts(whole)
	removed = slices.DeleteFunc(before, func(name string) bool { return slices.Contains(left, name) })
	return removed, errors.Join(append(failures, err)...)
}

func (e *Engine) stopCache(ctx context.Context, found CacheState) error {
	if found.ContainerID == "" {
		return nil
	}
	if err := e.api.ContainerStop(ctx, found.ContainerID, container.StopOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("cache: stop: %w", err)
	}
	if err := e.api.ContainerRemove(ctx, found.ContainerID, container.RemoveOptions{Force: true}); err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("cache: remove container: %w", err)
	}
	return nil
}

// ExecCache runs the cache's program in its container and returns its exit code. It uses only Args
// and the streams of command.
func (e *Engine) ExecCache(ctx context.Context, found CacheState, command Command) (int, error) {
	options := container.ExecOptions{AttachStdin: command.Stdin != nil, AttachStdout: true, AttachStderr: true, Cmd: append([]string{supervisorProgram}, command.Args...)}
	return e.run(ctx, found.ContainerID, options, command)
}
