// Package dockerx adapts the Docker Engine: nothing above it sees an SDK type.
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
	host string // how runnerctl names it
	away bool   // on another machine
}

// Close frees the connections.
func (e *Engine) Close() error { return e.api.Close() }

// Facts is what the engine says of itself and its machine.
type Facts struct {
	ID                                                                           string // of the engine, for good
	Arch                                                                         string // as uname says it
	Version, API, Kernel, OS, Name, StorageDriver, Cgroup, CgroupDriver, RootDir string
	StorageStatus                                                                map[string]string
	SecurityOptions, Runtimes, Warnings                                          []string
	DefaultRuntime                                                               string
	LiveRestore                                                                  bool
	HTTPProxy, HTTPSProxy, NoProxy                                               string // may hold credentials
	CPUs                                                                         int
	Memory                                                                       int64     // bytes
	Now                                                                          time.Time // by its clock
}

// Facts asks the engine.
func (e *Engine) Facts(ctx context.Context) (Facts, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return Facts{}, err
	}
	now, _ := time.Parse(time.RFC3339Nano, info.SystemTime) // zero where the engine tells none
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

// Network of the engine.
type Network struct {
	Name    string
	Default bool // the bridge that containers get where none is named
	MTU     int  // bytes; 0 where none is set
	Blocks  []netip.Prefix

	Apart    bool // its containers don't reach each other
	Unmasked bool // what leaves it keeps the containers' addresses
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

// AskRegistry lets the engine ask the registry of an image whether it is there;
// login says that the registry answers, and tells that only to those it knows.
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

// Bridge is the host's own address on the engine's default bridge: there containers
// reach what listens on the host.
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

// gatewayOf a network. An engine names that of its default bridge from its second start
// on only (seen with 20.10): before, it is the first address of the block.
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

// IsUnreachable tells an engine that can't be reached from one that answered.
func IsUnreachable(err error) bool { return client.IsErrConnectionFailed(err) }

// IsForbidden tells a socket that this user may not open.
func IsForbidden(err error) bool {
	// The client puts its own words around the system's error, which is lost in them.
	return err != nil && strings.Contains(err.Error(), "permission denied while trying to connect")
}
