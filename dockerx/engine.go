// Package dockerx adapts the Docker Engine: packages above it see no SDK type.
package dockerx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

// Engine is one Docker Engine.
type Engine struct {
	api  *client.Client
	host string // runnerctl's name for it
	away bool   // on another machine
}

// Close closes the connections.
func (e *Engine) Close() error { return e.api.Close() }

// Facts holds the engine's report about itself and its machine.
type Facts struct {
	ID                                                                           string // of the engine, permanent
	Arch                                                                         string // as uname prints it
	Version, API, Kernel, OS, Name, StorageDriver, Cgroup, CgroupDriver, RootDir string
	StorageStatus                                                                map[string]string
	SecurityOptions, Runtimes, Warnings                                          []string
	DefaultRuntime                                                               string
	LiveRestore                                                                  bool
	HTTPProxy, HTTPSProxy, NoProxy                                               string // may hold credentials
	CPUs                                                                         int
	Memory                                                                       int64     // bytes
	Now                                                                          time.Time // by the engine's clock
}

// Facts asks the engine for its facts.
func (e *Engine) Facts(ctx context.Context) (Facts, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return Facts{}, err
	}
	now, _ := time.Parse(time.RFC3339Nano, info.SystemTime) // zero if the engine reports none
	status := map[string]string{}
	for _, pair := range info.DriverStatus {
		status[pair[0]] = pair[1]
	}
	return Facts{
		ID: info.ID, Arch: info.Architecture,
		Version: info.ServerVersion, API: e.api.ClientVersion(), Kernel: info.KernelVersion, OS: info.OperatingSystem, Name: info.Name,
		StorageDriver: info.Driver, StorageStatus: status, Cgroup: info.CgroupVersion, CgroupDriver: info.CgroupDriver, RootDir: info.DockerRootDir,
		SecurityOptions: info.SecurityOptions, Runtimes: slices.Sorted(maps.Keys(info.Runtimes)), DefaultRuntime: info.DefaultRuntime, Warnings: info.Warnings,
		LiveRestore: info.LiveRestoreEnabled, HTTPProxy: info.HTTPProxy, HTTPSProxy: info.HTTPSProxy, NoProxy: info.NoProxy,
		CPUs: info.NCPU, Memory: info.MemTotal, Now: now,
	}, nil
}

// Network is a network of the engine.
type Network struct {
	Name    string
	Default bool // the bridge that containers get if no network is named
	MTU     int  // bytes; 0 if none is set
	Blocks  []netip.Prefix

	Apart    bool // its containers can't reach each other
	Unmasked bool // packets that leave it keep the containers' addresses
}

// Networks lists the engine's networks.
func (e *Engine) Networks(ctx context.Context) ([]Network, error) {
	list, err := e.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var networks []Network
	for _, one := range list {
		mtu, _ := strconv.Atoi(one.Options["com.docker.network.driver.mtu"]) // 0 where absent
		found := Network{
			Name: one.Name, Default: one.Options["com.docker.network.bridge.default_bridge"] == "true", MTU: mtu,
			Apart: one.Options["com.docker.network.bridge.enable_icc"] == "false", Unmasked: one.Options["com.docker.network.bridge.enable_ip_masquerade"] == "false",
		}
		for _, ipam := range one.IPAM.Config {
			if block, err := netip.ParsePrefix(ipam.Subnet); err == nil {
				found.Blocks = append(found.Blocks, block.Masked())
			}
		}
		networks = append(networks, found)
	}
	return networks, nil
}

// AskRegistry makes the engine ask an image's registry whether the image exists. login means
// that the registry answers, but requires a login for this question.
func (e *Engine) AskRegistry(ctx context.Context, reference string) (login bool, err error) {
	_, err = e.api.DistributionInspect(ctx, reference, "")
	switch {
	case cerrdefs.IsUnauthorized(err), cerrdefs.IsPermissionDenied(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("registry of %s: %w", reference, err)
	}
	return false, nil
}

// Bridge returns the host's own address on the engine's default bridge. Containers reach
// services of the host at this address.
func (e *Engine) Bridge(ctx context.Context) (netip.Addr, error) {
	bridge, err := e.api.NetworkInspect(ctx, "bridge", network.InspectOptions{})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("network bridge: %w", err)
	}
	address, found := gatewayOf(bridge.IPAM.Config)
	if !found {
		return netip.Addr{}, errors.New("network bridge: it has no gateway")
	}
	return address, nil
}

// gatewayOf returns the gateway of a network. An engine reports the gateway of its default
// bridge only from its second start on (seen with 20.10); before that, it is the first
// address of the block.
func gatewayOf(configs []network.IPAMConfig) (netip.Addr, bool) {
	for _, ipam := range configs {
		if address, err := netip.ParseAddr(ipam.Gateway); err == nil {
			return address, true
		}
		if block, err := netip.ParsePrefix(ipam.Subnet); err == nil && block.Addr().Is4() {
			return block.Masked().Addr().Next(), true
		}
	}
	return netip.Addr{}, false
}

// IsUnreachable reports whether the engine can't be reached, in contrast to an engine that
// answered with an error.
func IsUnreachable(err error) bool { return client.IsErrConnectionFailed(err) }

// IsForbidden reports whether this user may not open the engine's socket.
func IsForbidden(err error) bool {
	// The client wraps the system's error in its own text, and only the text is left of it.
	return err != nil && strings.Contains(err.Error(), "permission denied while trying to connect")
}
