package dockerx

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// tellLimit bounds the wait for a machine that hangs: the engine's own data is reported all
// the same.
const tellLimit = 10 * time.Second

// Details collects all known data about a runner from the engine and from the runner itself.
func (e *Engine) Details(ctx context.Context, runner fleet.Runner) (fleet.Details, error) {
	info, err := e.api.ContainerInspect(ctx, runner.ContainerID)
	if err != nil {
		return fleet.Details{}, fmt.Errorf("runner %s: %w", runner.Name, err)
	}
	version, err := e.api.ServerVersion(ctx)
	if err != nil {
		return fleet.Details{}, fmt.Errorf("engine version: %w", err)
	}
	details := describe(runner, info)
	details.Engine.Outer = version.Version
	if runner.State != fleet.Running {
		return details, nil
	}
	bounded, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	e.look(bounded, &details.Runner)
	inside := &Head{Limit: 1 << 20}
	if _, err := e.exec(bounded, runner.ContainerID, []string{status, "details"}, inside, io.Discard); err == nil {
		details.Inside(inside.String())
	}
	return details, ctx.Err()
}

// describe returns the details that the engine alone can give.
func describe(runner fleet.Runner, info container.InspectResponse) fleet.Details {
	env := map[string]string{}
	for _, pair := range info.Config.Env {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	mtu, _ := strconv.Atoi(env[envMTU])             // 0 where absent
	shm, _ := strconv.ParseInt(env[envShm], 10, 64) // likewise
	details := fleet.Details{
		Runner: runner, Pinned: runner.ImageID, Spec: runner.SpecHash, Volume: volumeName(runner.Name),
		Started: moment(info.State.StartedAt), Finished: moment(info.State.FinishedAt),
		ExitCode: info.State.ExitCode, OOMKilled: info.State.OOMKilled,
		Limits:  fleet.Limits{CPUs: float64(info.HostConfig.NanoCPUs) / 1e9, Memory: info.HostConfig.Memory, Shm: shm},
		Network: fleet.Network{Driver: env[envNetDriver], MTU: mtu, MTUs: map[string]int{}, Bip: env[envBip], Pool: env[envPools]},
		UIDMap:  []fleet.IDRange{}, Phases: []fleet.Phase{}, DaemonRestarts: []fleet.Moment{},
	}
	if info.HostConfig.PidsLimit != nil {
		details.Limits.Pids = *info.HostConfig.PidsLimit
	}
	for _, option := range info.HostConfig.SecurityOpt {
		if profile, ok := strings.CutPrefix(option, "apparmor="); ok {
			details.AppArmor = profile
		}
	}
	for _, one := range info.Mounts {
		if one.Destination == sysfs {
			details.InnerPrivileged = true
		}
	}
	return details
}

// moment parses a time; it returns nil for the engine's zero time.
func moment(text string) *time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() <= 1 {
		return nil
	}
	at = at.UTC()
	return &at
}
