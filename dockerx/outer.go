package dockerx

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// ExecOuter runs a command in a runner's outer tree, where no job runs, and returns its exit
// code. It uses only Args and the streams of command.
func (e *Engine) ExecOuter(ctx context.Context, runner fleet.Runner, command Command) (int, error) {
	options := container.ExecOptions{User: runnerUser, AttachStdin: command.Stdin != nil, AttachStdout: true, AttachStderr: true, Cmd: command.Args}
	return e.run(ctx, runner.ContainerID, options, command)
}

// Addresses returns the addresses of a running runner and of its gateway, on the engine's
// bridge.
func (e *Engine) Addresses(ctx context.Context, runner fleet.Runner) (own, gateway netip.Addr, err error) {
	info, err := e.api.ContainerInspect(ctx, runner.ContainerID)
	if err != nil {
		return own, gateway, fmt.Errorf("runner %s: %w", runner.Name, err)
	}
	for name, network := range info.NetworkSettings.Networks {
		if own, err = netip.ParseAddr(network.IPAddress); err != nil {
			return own, gateway, fmt.Errorf("runner %s: address on network %s: %w", runner.Name, name, err)
		}
		gateway, err = netip.ParseAddr(network.Gateway)
		if err != nil {
			return own, gateway, fmt.Errorf("runner %s: gateway of network %s: %w", runner.Name, name, err)
		}
		return own, gateway, nil
	}
	return own, gateway, fmt.Errorf("runner %s: in no network", runner.Name)
}
