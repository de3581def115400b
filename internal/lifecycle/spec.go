package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hostcache"
	"github.com/runnerctl/runnerctl/internal/image"
)

// specOf returns the spec that the settings ask for, of any host and without an agent.
func specOf(wanted config.Config, of Image) (fleet.Spec, error) {
	spec := fleet.Spec{
		Fleet: wanted.Name, Image: of.Tag, ImageID: of.ID,
		CPUs: wanted.Runners.CPUs, Memory: int64(wanted.Runners.Memory), Pids: wanted.Runners.Pids, Shm: int64(wanted.Runners.Shm),
		InnerPrivileged: wanted.Runners.InnerPrivileged, NetworkDriver: wanted.Network.Driver, MTU: wanted.Network.DriverMTU(),
		Runtime: wanted.Runners.Runtime, AppArmor: "unconfined", Env: wanted.Runners.Env,
		Syscalls: slices.Sorted(slices.Values(wanted.Runners.Syscalls)), Devices: slices.Sorted(slices.Values(wanted.Runners.Devices)),
	}
	spec.DockerStart = fleet.DockerStart(wanted.Docker.Start)
	if spec.DockerStart == fleet.OnDemand && (wanted.Target == "" || !wanted.Runners.Ephemeral) { // a runner of one job ends after it
		spec.IdleStop = time.Duration(wanted.Docker.IdleStop)
	}
	if proxy := wanted.Runners.Proxy; proxy.HTTP != "" || proxy.HTTPS != "" {
		spec.Proxy = &fleet.Proxy{HTTP: proxy.HTTP, HTTPS: proxy.HTTPS, Except: proxy.NoProxy}
	}
	var err error
	if spec.Dockerd, err = wanted.Runners.Dockerd.JSON(); err != nil {
		return spec, fmt.Errorf("runners.dockerd: %w", err)
	}
	return spec, nil
}

// Spec returns the spec of the fleet's runners on this host, without an agent.
func (h Host) Spec(ctx context.Context, of Image) (fleet.Spec, error) {
	spec, err := specOf(h.Settings, of)
	if err != nil {
		return spec, err
	}
	spec.CPUs = min(spec.CPUs, float64(h.Env.Known.Engine.CPUs))
	if spec.Cache = h.cacheSpec(); spec.Cache != nil {
		if spec.Cache.Preload, err = h.preloaded(ctx, of); err != nil {
			return spec, err
		}
	}
	if h.Env.Known.Engine.HasAppArmor() {
		machine, err := h.Env.Machine(ctx)
		var noImage *dockerx.NoImageError
		switch {
		case errors.As(err, &noImage): // a dry run before the first build
		case err != nil:
			return spec, fmt.Errorf("AppArmor profiles of %s: %w", h.Env.Known.Endpoint, err)
		case doctor.AppArmorProfileLoaded(machine.Root, doctor.AppArmorProfile):
			spec.AppArmor = doctor.AppArmorProfile
		}
	}
	if spec.Ulimits, err = facts.Ulimits(ctx, h.Env); err != nil {
		return spec, err
	}
	networks, err := h.Engine.Networks(ctx)
	if err != nil {
		return spec, err
	}
	var routes []netip.Prefix
	if h.Env.Known.Local {
		machine, err := h.Env.Machine(ctx)
		if err != nil {
			return spec, err
		}
		routes = doctor.Routes(machine)
	}
	spec.Bip, spec.Pool, err = fleet.Pools(blocks(networks), routes)
	return spec, err
}

func blocks(networks []dockerx.Network) (all []netip.Prefix) {
	for _, network := range networks {
		all = append(all, network.Blocks...)
	}
	return all
}

// AgentSpec is Spec with the agent that takes jobs from GitHub, if the fleet has a target.
func (h Host) AgentSpec(ctx context.Context, of Image) (fleet.Spec, error) {
	spec, err := h.Spec(ctx, of)
	if err != nil || h.Target == nil {
		return spec, err
	}
	facts, err := h.Engine.Facts(ctx)
	if err != nil {
		return spec, err
	}
	if err := h.Target.CheckClock(ctx, facts.Now); err != nil {
		return spec, err
	}
	if spec.CAs, err = access.CAs(h.Settings); err != nil {
		return spec, err
	}
	spec.Agent = h.Target.Agent(h.Settings, fleet.Marker(h.Settings.Name, facts.ID))
	return spec, nil
}

// desired returns the desired state for runners of spec.
func (f Fleet) desired(spec fleet.Spec) fleet.Desired {
	desired := fleet.Desired{Schema: fleet.DesiredSchema, Count: f.Settings.Runners.Count, Spec: spec, Ready: f.Ready}
	if spec.Agent.Mode == fleet.JIT {
		desired.Spares = f.Settings.Runners.Spares
	}
	return desired
}

// Desired returns the desired state of the fleet as a supervisor stores it.
func (h Host) Desired(ctx context.Context, of Image) (fleet.Desired, error) {
	spec, err := h.AgentSpec(ctx, of)
	if err != nil {
		return fleet.Desired{}, err
	}
	desired := h.desired(spec)
	if desired.Agent, err = image.AgentIn(ctx, h.Engine, of.Tag); err != nil {
		return desired, err
	}
	if wanted, err := hostcache.ConfigOf(h.Settings); err != nil {
		return desired, err
	} else if wanted != nil {
		if desired.Cache, err = json.Marshal(wanted); err != nil {
			return desired, err
		}
	}
	ingredients, err := image.IngredientsOf(h.Settings)
	if err != nil {
		return desired, err
	}
	desired.Rebuild, err = json.Marshal(ingredients)
	return desired, err
}
