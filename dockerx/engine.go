// Package dockerx adapts the Docker Engine: nothing above it sees an SDK type.
package dockerx

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	clicontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

// Engine is one Docker Engine.
type Engine struct {
	api  *client.Client
	host string // how runnerctl names it
}

// Endpoint is where an engine is reached.
type Endpoint struct {
	Name string // "local", or the context's name
	Host string // unix://, tcp://, ssh://…
}

// Local tells whether the engine's machine is this one.
func (e Endpoint) Local() bool {
	return strings.HasPrefix(e.Host, "unix://") || strings.HasPrefix(e.Host, "npipe://")
}

// FindEndpoint chooses like the docker CLI: DOCKER_HOST, then DOCKER_CONTEXT,
// then the current context of the CLI's configuration, then the default socket.
func FindEndpoint(env func(string) string) (Endpoint, error) {
	if host := env("DOCKER_HOST"); host != "" {
		name := "local"
		if !strings.HasPrefix(host, "unix://") {
			name = host
		}
		return Endpoint{Name: name, Host: host}, nil
	}
	local := Endpoint{Name: "local", Host: client.DefaultDockerHost}
	file, err := config.Load(env("DOCKER_CONFIG"))
	if err != nil {
		return local, fmt.Errorf("docker's own configuration: %w", err)
	}
	name := env("DOCKER_CONTEXT")
	if name == "" {
		name = file.CurrentContext
	}
	if name == "" || name == "default" {
		return local, nil
	}
	contexts := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(clicontext.DockerEndpoint, func() any { return &clicontext.EndpointMeta{} }),
	))
	metadata, err := contexts.GetMetadata(name)
	if err != nil {
		return local, fmt.Errorf("docker context %q: %w", name, err)
	}
	endpoint, err := clicontext.EndpointFromContext(metadata)
	if err != nil {
		return local, fmt.Errorf("docker context %q: %w", name, err)
	}
	return Endpoint{Name: name, Host: endpoint.Host}, nil
}

// Connect opens the engine; nothing is sent yet.
func Connect(endpoint Endpoint) (*Engine, error) {
	options := []client.Opt{client.WithAPIVersionNegotiation()}
	helper, err := connhelper.GetConnectionHelper(endpoint.Host)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", endpoint.Host, err)
	}
	if helper != nil {
		options = append(options,
			client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
			client.WithHost(helper.Host), client.WithDialContext(helper.Dialer))
	} else {
		options = append(options, client.WithTLSClientConfigFromEnv(), client.WithHost(endpoint.Host))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", endpoint.Host, err)
	}
	return &Engine{api: api, host: endpoint.Name}, nil
}

// Close frees the connections.
func (e *Engine) Close() error { return e.api.Close() }

// Facts is what the engine says of itself and its machine.
type Facts struct {
	ID                                                                     string // of the engine, for good
	Arch                                                                   string // as uname says it
	Version, API, Kernel, OS, StorageDriver, Cgroup, CgroupDriver, RootDir string
	SecurityOptions                                                        []string
	CPUs                                                                   int
	Memory                                                                 int64 // bytes
}

// Facts asks the engine.
func (e *Engine) Facts(ctx context.Context) (Facts, error) {
	info, err := e.api.Info(ctx)
	if err != nil {
		return Facts{}, err
	}
	return Facts{
		ID: info.ID, Arch: info.Architecture,
		Version: info.ServerVersion, API: e.api.ClientVersion(), Kernel: info.KernelVersion, OS: info.OperatingSystem,
		StorageDriver: info.Driver, Cgroup: info.CgroupVersion, CgroupDriver: info.CgroupDriver, RootDir: info.DockerRootDir,
		SecurityOptions: info.SecurityOptions, CPUs: info.NCPU, Memory: info.MemTotal,
	}, nil
}

// Networks lists the address blocks of the engine's networks.
func (e *Engine) Networks(ctx context.Context) ([]netip.Prefix, error) {
	list, err := e.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var blocks []netip.Prefix
	for _, one := range list {
		for _, ipam := range one.IPAM.Config {
			if block, err := netip.ParsePrefix(ipam.Subnet); err == nil {
				blocks = append(blocks, block.Masked())
			}
		}
	}
	return blocks, nil
}

// IsUnreachable tells an engine that can't be reached from one that answered.
func IsUnreachable(err error) bool { return client.IsErrConnectionFailed(err) }

// IsForbidden tells a socket that this user may not open.
func IsForbidden(err error) bool {
	// The client puts its own words around the system's error, which is lost in them.
	return err != nil && strings.Contains(err.Error(), "permission denied while trying to connect")
}
