package dockerx

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
)

// environment returns a runner's environment: the settings of its machine, and a proxy.
func environment(name string, spec fleet.Spec, start fleet.Start) []string {
	text, err := json.Marshal(machineSettings(name, spec, start))
	if err != nil { // the operator's settings of dockerd are valid JSON since they were read
		panic(err)
	}
	return append([]string{machine.EnvSettings + "=" + string(text)}, proxy(spec)...)
}

// machineSettings are the settings of a runner's machine. A runner matches the desired state
// however it started, so start is not part of Spec.
func machineSettings(name string, spec fleet.Spec, start fleet.Start) machine.Settings {
	settings := machine.Settings{
		Network: machine.Network{Driver: spec.NetworkDriver, MTU: spec.MTU},
		Docker: machine.Docker{
			Bip: spec.Bip, Pools: strings.Fields(spec.Pool), Daemon: json.RawMessage(spec.Dockerd),
			OnDemand: spec.OnDemand() && start != fleet.Prove, IdleStop: int(spec.IdleStop.Seconds()),
		},
		Shm: spec.Shm,
	}
	if spec.Cache != nil {
		settings.Cache = &machine.Cache{Actions: spec.Cache.Actions, Registries: spec.Cache.Registries, Preload: spec.Cache.Preload != ""}
	}
	for _, variable := range slices.Sorted(maps.Keys(spec.Env)) {
		settings.Env = append(settings.Env, variable+"="+spec.Env[variable])
	}
	if agent := spec.Agent; agent.Mode != fleet.NoAgent {
		settings.Agent = &machine.Agent{
			Mode: machine.AgentMode(agent.Mode), URL: agent.URL, Name: name, Labels: agent.Labels, Group: agent.Group,
			Ephemeral: agent.OneJob(), Spare: start == fleet.Spare,
		}
	}
	return settings
}

// settingsOf reads back the settings that containerConfig wrote. They show where a fleet's
// runners are registered, even if its settings are on another machine.
func settingsOf(env []string) machine.Settings {
	values := map[string]string{}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	var settings machine.Settings
	if text := values[machine.EnvSettings]; text != "" {
		_ = json.Unmarshal([]byte(text), &settings) // a container of a newer runnerctl is refused by its label
		return settings
	}
	return olderSettings(values)
}

// olderSettings reads the variables that runnerctl wrote before it had settings in JSON.
func olderSettings(values map[string]string) (settings machine.Settings) {
	settings.Network.Driver = values["RUNNERCTL_NET_DRIVER"]
	settings.Network.MTU, _ = strconv.Atoi(values["RUNNERCTL_MTU"]) // 0 where absent, like the others
	settings.Docker.Bip, settings.Docker.Pools = values["RUNNERCTL_BIP"], strings.Fields(values["RUNNERCTL_POOLS"])
	settings.Shm, _ = strconv.ParseInt(values["RUNNERCTL_SHM_SIZE"], 10, 64)
	if values["RUNNERCTL_AGENT"] == "" {
		return settings
	}
	settings.Agent = &machine.Agent{
		Mode: machine.AgentMode(values["RUNNERCTL_AGENT"]), URL: values["RUNNERCTL_AGENT_URL"], Group: values["RUNNERCTL_AGENT_GROUP"],
		Ephemeral: values["RUNNERCTL_AGENT_EPHEMERAL"] == "true",
		Spare:     values["RUNNERCTL_AGENT_START"] == string(fleet.Spare) || values["RUNNERCTL_AGENT_SPARE"] == "true",
	}
	if labels := values["RUNNERCTL_AGENT_LABELS"]; labels != "" {
		settings.Agent.Labels = strings.Split(labels, ",")
	}
	return settings
}

// startOf reads back the way in which a runner started.
func startOf(env []string) fleet.Start {
	if agent := settingsOf(env).Agent; agent != nil && agent.Spare {
		return fleet.Spare
	}
	return fleet.Usual
}

// agentOf reads back a runner's agent.
func agentOf(env []string) fleet.Agent {
	agent := settingsOf(env).Agent
	if agent == nil {
		return fleet.Agent{}
	}
	return fleet.Agent{Mode: fleet.AgentMode(agent.Mode), URL: agent.URL, Labels: agent.Labels, Group: agent.Group, Ephemeral: agent.Ephemeral}
}

// proxy returns the variables of a proxy. Programs differ in which case they read.
func proxy(spec fleet.Spec) (all []string) {
	if spec.Proxy == nil {
		return nil
	}
	for _, one := range []struct{ name, value string }{
		{"http_proxy", spec.Proxy.HTTP}, {"https_proxy", spec.Proxy.HTTPS}, {"no_proxy", noProxy(spec)},
	} {
		if one.value != "" {
			all = append(all, one.name+"="+one.value, strings.ToUpper(one.name)+"="+one.value)
		}
	}
	return all
}

// noProxy lists the addresses that a runner reaches without the proxy: those of the settings,
// its own machine and its containers' networks. Programs that accept no networks in this list
// at least know localhost.
func noProxy(spec fleet.Spec) string {
	all := append(slices.Clone(spec.Proxy.Except), "localhost", "127.0.0.1", "::1", "host.docker.internal", "169.254.213.0/24")
	if spec.Cache != nil { // for actions in JavaScript, which accept no networks
		all = append(all, machine.CacheAddress)
	}
	networks := []string{spec.Bip}
	for _, pool := range strings.Fields(spec.Pool) {
		base, _, _ := strings.Cut(strings.TrimPrefix(pool, "base="), ",")
		networks = append(networks, base)
	}
	for _, network := range networks {
		if prefix, err := netip.ParsePrefix(network); err == nil {
			all = append(all, prefix.Masked().String())
		}
	}
	return strings.Join(all, ",")
}
