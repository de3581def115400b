package dockerx

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
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
		if report, err := parseStatus(inside.String()); err == nil && report.Details != nil {
			addInside(&details, *report.Details)
		}
	}
	return details, ctx.Err()
}

// describe returns the details that the engine alone can give.
func describe(runner fleet.Runner, info container.InspectResponse) fleet.Details {
	settings := settingsOf(info.Config.Env)
	details := fleet.Details{
		Runner: runner, Pinned: runner.ImageID, Spec: runner.SpecHash, Volume: volumeName(runner.Name),
		Started: moment(info.State.StartedAt), Finished: moment(info.State.FinishedAt),
		ExitCode: info.State.ExitCode, OOMKilled: info.State.OOMKilled,
		Limits: fleet.Limits{CPUs: float64(info.HostConfig.NanoCPUs) / 1e9, Memory: info.HostConfig.Memory, Shm: settings.Shm},
		Network: fleet.Network{
			Driver: settings.Network.Driver, MTU: settings.Network.MTU, MTUs: map[string]int{},
			Bip: settings.Docker.Bip, Pool: strings.Join(settings.Docker.Pools, " "),
		},
		UIDMap: []fleet.IDRange{}, Phases: []fleet.Phase{}, DaemonRestarts: []fleet.Moment{},
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

// mostInside is the maximum length of each list that a runner can fill.
const mostInside = 100

// addInside adds a report from inside the runner. A job can forge it, so its lists are limited.
func addInside(details *fleet.Details, report machine.Details) {
	for _, one := range first(report.UIDs) {
		details.UIDMap = append(details.UIDMap, fleet.IDRange(one))
	}
	for _, name := range first(slices.Sorted(maps.Keys(report.MTUs))) {
		details.Network.MTUs[name] = report.MTUs[name]
	}
	for _, one := range first(report.Phases) {
		phase := fleet.Phase{Moment: fleet.Moment{Name: one.Name, Time: one.At.UTC()}}
		if len(details.Phases) > 0 {
			phase.After = phase.Time.Sub(details.Phases[0].Time).Seconds()
		}
		details.Phases = append(details.Phases, phase)
	}
	for _, one := range first(report.Restarts) {
		details.DaemonRestarts = append(details.DaemonRestarts, fleet.Moment{Name: one.Name, Time: one.At.UTC()})
	}
	details.Engine.Inner, details.Engine.StorageDriver, details.Engine.CgroupDriver = report.Daemon.ServerVersion, report.Daemon.Driver, report.Daemon.CgroupDriver
}

func first[T any](all []T) []T { return all[:min(len(all), mostInside)] }
