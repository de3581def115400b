package dockerx

import (
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/runnerctl/runnerctl/internal/fleet"
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

// Variables that the image's scripts read.
const (
	envNetDriver = "RUNNERCTL_NET_DRIVER"
	envMTU       = "RUNNERCTL_MTU"
	envBip       = "RUNNERCTL_BIP"
	envPools     = "RUNNERCTL_POOLS"
	envShm       = "RUNNERCTL_SHM_SIZE"
	envDockerd   = "RUNNERCTL_DOCKERD" // a JSON object, added to the machine's daemon.json

	// Variables of a runner with an agent; the credential goes in by standard input.
	envAgent          = "RUNNERCTL_AGENT" // fleet.AgentMode
	envAgentURL       = "RUNNERCTL_AGENT_URL"
	envAgentName      = "RUNNERCTL_AGENT_NAME"
	envAgentLabels    = "RUNNERCTL_AGENT_LABELS" // comma-separated
	envAgentGroup     = "RUNNERCTL_AGENT_GROUP"
	envAgentEphemeral = "RUNNERCTL_AGENT_EPHEMERAL"
	envAgentStart     = "RUNNERCTL_AGENT_START" // fleet.Start, unless it is the usual one
)

// hasAgent reports whether a container has an agent, whose end is the container's end.
func hasAgent(config *container.Config) bool {
	return slices.ContainsFunc(config.Env, func(pair string) bool { return strings.HasPrefix(pair, envAgent+"=") })
}

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
	if spec.Dockerd != "" {
		config.Env = append(config.Env, envDockerd+"="+spec.Dockerd)
	}
	config.Env = append(config.Env, environment(spec)...)
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
		config.Env = append(config.Env,
			envAgent+"="+string(agent.Mode),
			envAgentURL+"="+agent.URL,
			envAgentName+"="+name,
			envAgentLabels+"="+strings.Join(agent.Labels, ","),
			envAgentGroup+"="+agent.Group,
			envAgentEphemeral+"="+strconv.FormatBool(agent.OneJob()),
		)
		if agent.OneJob() {
			host.RestartPolicy.Name = container.RestartPolicyDisabled // its credential is used up
		}
	}
	if start != fleet.Usual {
		config.Env = append(config.Env, envAgentStart+"="+string(start))
	}
	if spec.InnerPrivileged {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/sys", Target: sysfs})
	}
	return config, host
}

// startOf reads back the way in which a runner started.
func startOf(env []string) fleet.Start {
	for _, one := range env {
		if start, given := strings.CutPrefix(one, envAgentStart+"="); given {
			return fleet.Start(start)
		}
		if one == "RUNNERCTL_AGENT_SPARE=true" { // made by an older runnerctl
			return fleet.Spare
		}
	}
	return fleet.Usual
}

// agentOf reads back the agent's settings that containerConfig wrote. They show where a
// fleet's runners are registered, even if its settings are on another machine.
func agentOf(env []string) fleet.Agent {
	told := map[string]string{}
	for _, one := range env {
		name, value, _ := strings.Cut(one, "=")
		told[name] = value
	}
	if told[envAgent] == "" {
		return fleet.Agent{}
	}
	agent := fleet.Agent{Mode: fleet.AgentMode(told[envAgent]), URL: told[envAgentURL], Group: told[envAgentGroup], Ephemeral: told[envAgentEphemeral] == "true"}
	if told[envAgentLabels] != "" {
		agent.Labels = strings.Split(told[envAgentLabels], ",")
	}
	return agent
}
