package dockerx

import (
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

const (
	runnerUser  = "1001:1001"
	runtimeDir  = "/run/user/1001"
	dataRoot    = "/rootfs/var/lib/docker"
	sysfs       = "/sys-rw"
	stopSeconds = 60
)

// What the image's scripts are told.
const (
	envNetDriver = "RUNNERCTL_NET_DRIVER"
	envMTU       = "RUNNERCTL_MTU"
	envBip       = "RUNNERCTL_BIP"
	envPools     = "RUNNERCTL_POOLS"
	envShm       = "RUNNERCTL_SHM_SIZE"
)

func volumeName(runner string) string { return runner + "-data" }

func roleOf(spec fleet.Spec) string {
	if spec.Role == "" {
		return roleRunner
	}
	return string(spec.Role)
}

// containerConfig is the whole security model in one place (README, "Security
// model"; golden-tested). There is no privileged mode, no capability beyond the
// two that newuidmap and newgidmap need, and no host path but a sysfs that the
// kernel wants to see and that is gone before any job runs.
func containerConfig(name string, spec fleet.Spec) (*container.Config, *container.HostConfig) {
	labels := ownLabels(spec.Fleet, roleOf(spec))
	labels[labelSpec] = spec.Hash()
	labels[labelCPUs] = strconv.FormatFloat(spec.CPUs, 'g', -1, 64)
	stop := stopSeconds
	config := &container.Config{
		Hostname: name,
		Image:    spec.Image,
		User:     runnerUser,
		Labels:   labels,
		Env: []string{
			envNetDriver + "=" + spec.NetworkDriver,
			envMTU + "=" + strconv.Itoa(spec.MTU),
			envBip + "=" + spec.Bip,
			envPools + "=" + spec.Pool,
			envShm + "=" + strconv.FormatInt(spec.Shm, 10),
		},
		StopTimeout: &stop,
	}
	pids := spec.Pids
	host := &container.HostConfig{
		CapDrop: []string{"ALL"},
		CapAdd:  []string{"SETUID", "SETGID"},
		SecurityOpt: []string{
			seccompOption(),
			"apparmor=" + spec.AppArmor,
		},
		// What the CLI's systempaths=unconfined sets: a new proc can be mounted in
		// a user namespace only where none of the visible one is masked.
		MaskedPaths:   []string{},
		ReadonlyPaths: []string{},
		NetworkMode:   "bridge", // a user-made network costs 110 ms a start
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
	host.Runtime = spec.Runtime
	if roleOf(spec) != roleRunner {
		host.RestartPolicy.Name = container.RestartPolicyDisabled // a throw-away one has nobody to come back for
	}
	if spec.InnerPrivileged {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/sys", Target: sysfs})
	}
	return config, host
}
