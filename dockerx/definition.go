package dockerx

import (
	"strings"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Definition is a runner's container without the engine's SDK, for other tools that start it. It
// has the security model of containerConfig.
type Definition struct {
	Image       string
	Env         []string // NAME=VALUE, none of them secret
	CapDrop     []string
	CapAdd      []string
	AppArmor    string // profile
	Seccomp     []byte // profile, in the engine's form
	Runtime     string // of the engine; "" for its default
	Network     string
	Devices     []string          // paths, the same on the host and in the container
	Tmpfs       map[string]string // options by path
	Binds       []string          // HOST:CONTAINER
	DataRoot    string            // a volume of the runner's own, which the image declares
	CPUs        float64           // cores
	Memory      int64             // bytes
	Pids        int64
	StopSeconds int
	Log         map[string]string // options of the driver json-file
}

// Define returns the definition of a runner. It has no agent: that is up to the tool. It asks for no
// limits of resources either, because an engine may be unable to give them (fleet.Ulimits).
func Define(spec fleet.Spec) Definition {
	spec.Agent = fleet.Agent{}
	config, host := containerConfig("", spec, fleet.Usual)
	made := Definition{
		Image: config.Image, Env: config.Env, CapDrop: host.CapDrop, CapAdd: host.CapAdd, Runtime: host.Runtime, Network: string(host.NetworkMode),
		Tmpfs: host.Tmpfs, DataRoot: dataRoot, CPUs: spec.CPUs, Memory: host.Memory, Pids: *host.PidsLimit,
		StopSeconds: *config.StopTimeout, Log: host.LogConfig.Config,
	}
	for _, option := range host.SecurityOpt {
		switch name, value, _ := strings.Cut(option, "="); name {
		case "seccomp":
			made.Seccomp = []byte(value)
		case "apparmor":
			made.AppArmor = value
		}
	}
	for _, device := range host.Devices {
		made.Devices = append(made.Devices, device.PathInContainer)
	}
	for _, one := range host.Mounts {
		if one.Target != dataRoot {
			made.Binds = append(made.Binds, one.Source+":"+one.Target)
		}
	}
	return made
}
