package dockerx

import (
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
)

const (
	runnerUser = "1001:1001"
	runtimeDir = "/run/user/1001"
	dataRoot   = "/rootfs/var/lib/docker"
	sysfs      = "/sys-rw"
)

// stopSeconds is how long a runner may take to stop: 30 s for its job to end by itself, 40 s
// to cancel it (a step takes 10 s, then come post steps and uploads), 10 s for the daemons.
// The engine's own stop takes 5 s longer and fits into systemd's 90 s.
const stopSeconds = 80

// hasAgent reports whether a container has an agent, whose end is the container's end.
func hasAgent(config *container.Config) bool { return agentOf(config.Env).Mode != fleet.NoAgent }

func volumeName(runner string) string { return runner + "-data" }

func roleOf(spec fleet.Spec) string {
	if spec.Role == "" {
		return roleRunner
	}
	return string(spec.Role)
}

// containerConfig is the whole security model in one place (docs/security.md;
// golden-tested). There is no privileged mode, no capability except the two that newuidmap
// and newgidmap need, and no host path except a sysfs that the kernel requires to be visible
// and that is gone before any job runs. A runner matches the desired state however it started,
// so start is not part of Spec.
func containerConfig(name string, spec fleet.Spec, start fleet.Start) (*container.Config, *container.HostConfig) {
	labels := ownLabels(spec.Fleet, roleOf(spec))
	labels[labelSpec] = spec.Hash()
	labels[labelCPUs] = strconv.FormatFloat(spec.CPUs, 'g', -1, 64)
	stop := stopSeconds
	config := &container.Config{
		Hostname:    name,
		Image:       spec.Image,
		User:        runnerUser,
		Labels:      labels,
		Env:         environment(name, spec, start),
		StopTimeout: &stop,
	}
	pids := spec.Pids
	host := &container.HostConfig{
		CapDrop: []string{"ALL"},
		CapAdd:  []string{"SETUID", "SETGID"},
		SecurityOpt: []string{
			seccompOption(spec.Syscalls),
			"apparmor=" + spec.AppArmor,
			// The engine's default may forbid new privileges, but newuidmap and newgidmap get
			// their capabilities from their files, and sudo is setuid.
			"no-new-privileges=false",
		},
		Init: new(bool), // the image has its own init, even if the engine adds one by default
		// The same as the CLI's systempaths=unconfined: a new proc can be mounted in a user
		// namespace only if no part of the visible one is masked.
		MaskedPaths:   []string{},
		ReadonlyPaths: []string{},
		NetworkMode:   "bridge", // a user-defined network costs 110 ms per start
		Tmpfs:         map[string]string{runtimeDir: "uid=1001,gid=1001,mode=700,exec"},
		Mounts: []mount.Mount{{
			Type: mount.TypeVolume, Source: volumeName(name), Target: dataRoot,
		}},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		Resources: container.Resources{
			Devices:   []container.DeviceMapping{{PathOnHost: "/dev/net/tun", PathInContainer: "/dev/net/tun", CgroupPermissions: "rwm"}},
			NanoCPUs:  int64(spec.CPUs * 1e9),
			Memory:    spec.Memory,
			PidsLimit: &pids,
		},
	}
	for _, name := range spec.Devices {
		host.Devices = append(host.Devices, container.DeviceMapping{PathOnHost: "/dev/" + name, PathInContainer: "/dev/" + name, CgroupPermissions: "rwm"})
	}
	for _, one := range spec.Ulimits {
		host.Ulimits = append(host.Ulimits, &container.Ulimit{Name: one.Name, Soft: one.Soft, Hard: one.Hard})
	}
	host.Runtime = spec.Runtime
	if roleOf(spec) != roleRunner {
		host.RestartPolicy.Name = container.RestartPolicyDisabled // a throw-away runner is not needed again
	}
	if agent := spec.Agent; agent.Mode != fleet.NoAgent {
		config.OpenStdin, config.StdinOnce = true, true
		if agent.OneJob() {
			host.RestartPolicy.Name = container.RestartPolicyDisabled // its credential is used up
		}
	}
	host.Mounts = append(host.Mounts, cacheMounts(spec)...)
	if spec.InnerPrivileged {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/sys", Target: sysfs})
	}
	return config, host
}

// cacheMounts are the volumes of the host's cache that a runner uses.
func cacheMounts(spec fleet.Spec) []mount.Mount {
	if spec.Cache == nil {
		return nil
	}
	mounts := []mount.Mount{shared(cacheSocket, roleCache, machine.CacheFolder)} // a folder with one socket
	if spec.Role == fleet.Preload {                                              // it fills the volume, which gets the owner of the image's folder
		mounts = append(mounts, mount.Mount{
			Type: mount.TypeVolume, Source: cacheTools, Target: "/rootfs" + machine.ToolsPlace, VolumeOptions: &mount.VolumeOptions{Labels: ownLabels("", roleCache)},
		})
	} else {
		mounts = append(mounts, shared(cacheTools, roleCache, "/rootfs"+machine.ToolsFolder))
	}
	if spec.Cache.Actions {
		mounts = append(mounts, shared(cacheArchives, roleCache, "/rootfs"+machine.ArchivesFolder))
	}
	if spec.Cache.Preload != "" {
		mounts = append(mounts, shared(spec.Cache.Preload, rolePreload, "/rootfs"+machine.PreloadFolder))
	}
	return mounts
}

// shared mounts a volume that all runners of the host read. If it is missing, the engine makes one with
// the labels.
func shared(volume, role, target string) mount.Mount {
	return mount.Mount{
		Type: mount.TypeVolume, Source: volume, Target: target, ReadOnly: true,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: ownLabels("", role)},
	}
}
