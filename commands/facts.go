package commands

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// checkLimit is how long one check may take.
const checkLimit = 30 * time.Second

// doctorEnv is where doctor's checks look. What costs something is asked when the
// first check needs it; offline, nothing outside. Without an engine only EngineErr
// is known of it.
func doctorEnv(ctx context.Context, d deps, engine *dockerx.Engine, endpoint dockerx.Endpoint, wanted config.Config, offline bool) doctor.Env {
	env := doctor.Env{Offline: offline, Known: doctor.Facts{
		Client: doctor.Client{OS: d.goos, Proxy: proxyFacts(proxySettings(d.env))}, Endpoint: endpoint.Host,
		Wanted: doctor.Wanted{
			Count: wanted.Runners.Count, CPUs: wanted.Runners.CPUs, Memory: int64(wanted.Runners.Memory),
			Runtime: wanted.Runners.Runtime, Driver: wanted.Network.Driver, Target: wanted.Target,
		},
	}}
	told, err := engine.Facts(ctx)
	if err != nil {
		env.Known.EngineErr = err
		return env
	}
	env.Known.Engine = engineFacts(told)
	if networks, err := engine.Networks(ctx); err == nil {
		env.Known.Engine.Networks, env.Known.Wanted.Pool = networkFacts(networks)
	}
	env.Known.Wanted.Base = unique(wanted.Image.Base, wanted.Image.Outer)
	for _, base := range env.Known.Wanted.Base {
		if id, err := engine.ImageID(ctx, base); err == nil && id == "" {
			env.Known.Wanted.Missing = append(env.Known.Wanted.Missing, base)
		}
	}
	env.Known.Local = isHere(endpoint, told)
	look(&env, engine, endpoint, wanted, told.Arch)
	env.Registry = doctor.Once(func(ctx context.Context) (doctor.Registry, error) { return askRegistry(ctx, engine, env.Known.Wanted) })
	env.GitHub = doctor.Once(func(ctx context.Context) (doctor.GitHub, error) { return githubFacts(ctx, d, engine, wanted) })
	return env
}

// look adds what is seen on the engine's machine. One probe container serves the
// checks of what containers see, and where this process can't look, of the
// machine's files.
func look(env *doctor.Env, engine *dockerx.Engine, endpoint dockerx.Endpoint, wanted config.Config, arch string) {
	var here doctor.Machine
	if env.Known.Local {
		here = machineHere(endpoint)
	}
	options := dockerx.ProbeOptions{Fleet: wanted.Name, Images: env.Known.Wanted.Base, Program: ownProgram(arch)}
	if !env.Offline {
		options.Connect = []string{doctor.MetadataService, doctor.Nowhere}
	}
	away := !env.Known.Local || env.Known.Engine.HasAppArmor() && !doctor.AppArmorReadable(here.Root)
	if away {
		for _, path := range doctor.Paths {
			options.Files = append(options.Files, strings.ReplaceAll(path, "KERNEL", env.Known.Engine.Kernel))
		}
	}
	probe := doctor.Once(func(ctx context.Context) (dockerx.Probed, error) {
		options := options
		if id, err := engine.AnyImage(ctx); err == nil && id != "" {
			options.Images = append([]string{id}, options.Images...)
		}
		return engine.Probe(ctx, options)
	})
	rootDir, local := env.Known.Engine.RootDir, env.Known.Local
	env.Container = func(ctx context.Context) (doctor.Container, error) {
		seen, err := probe(ctx)
		return doctor.Container{Mounts: seen.Mounts, Metadata: seen.Connected[doctor.MetadataService], Nowhere: seen.Connected[doctor.Nowhere]}, err
	}
	env.Machine = func(ctx context.Context) (doctor.Machine, error) {
		if !away {
			return here, nil
		}
		seen, err := probe(ctx)
		if err != nil && local {
			return here, nil // better than nothing
		}
		return doctor.Machine{Root: seen.Files, Process: "proc/1"}, err
	}
	env.Space = func(ctx context.Context) (doctor.Space, error) {
		if local {
			if space, err := spaceHere(endpoint, rootDir); err == nil {
				return space, nil
			}
		}
		seen, err := probe(ctx)
		return doctor.Space{Free: seen.Free, Inodes: seen.Inodes, AllInodes: seen.AllInodes}, err
	}
}

func engineFacts(told dockerx.Facts) doctor.Engine {
	engine := doctor.Engine{
		Version: told.Version, API: told.API, Kernel: told.Kernel, System: told.OS, Name: told.Name,
		StorageDriver: told.StorageDriver, RootDir: told.RootDir, StorageStatus: told.StorageStatus,
		Cgroup: told.Cgroup, CgroupDriver: told.CgroupDriver, SecurityOptions: told.SecurityOptions,
		Runtimes: told.Runtimes, DefaultRuntime: told.DefaultRuntime, Warnings: told.Warnings, LiveRestore: told.LiveRestore,
		Proxy: proxyFacts(httpproxy.Config{HTTPProxy: told.HTTPProxy, HTTPSProxy: told.HTTPSProxy, NoProxy: told.NoProxy}), CPUs: told.CPUs, Memory: told.Memory,
	}
	if !told.Now.IsZero() {
		engine.Skew = time.Until(told.Now)
	}
	return engine
}

// networkFacts also picks the block that runners' inner networks would take.
func networkFacts(networks []dockerx.Network) (all []doctor.Network, pool netip.Prefix) {
	for _, one := range networks {
		all = append(all, doctor.Network(one))
	}
	bip, _, err := fleet.Pools(blocks(networks))
	if err != nil {
		return all, netip.Prefix{}
	}
	address := netip.MustParsePrefix(bip).Addr()
	return all, netip.PrefixFrom(address, 16).Masked() // Pools takes a /16, docker0 half of it
}

// proxyFacts names what is set, without the credentials that a proxy's URL may hold.
func proxyFacts(settings httpproxy.Config) map[string]string {
	all := map[string]string{}
	for name, value := range map[string]string{"HTTP_PROXY": settings.HTTPProxy, "HTTPS_PROXY": settings.HTTPSProxy, "NO_PROXY": settings.NoProxy} {
		if value == "" {
			continue
		}
		if address, err := url.Parse(value); err == nil && address.Host != "" {
			value = address.Scheme + "://" + address.Host
		} else if strings.Contains(value, "@") {
			value = "(set)"
		}
		all[name] = value
	}
	return all
}

// readImage looks at an image that doctor --image names.
func readImage(engine *dockerx.Engine, name, fleetName string) func(context.Context) (doctor.Image, error) {
	return doctor.Once(func(ctx context.Context) (read doctor.Image, err error) {
		err = engine.ImageTree(ctx, name, fleetName, func(user string, tree io.Reader) error {
			read, err = doctor.ReadImage(name, user, tree)
			return err
		})
		return read, err
	})
}

// registryLimit is for a registry that does not answer.
const registryLimit = 5 * time.Second

func askRegistry(ctx context.Context, engine *dockerx.Engine, wanted doctor.Wanted) (doctor.Registry, error) {
	if len(wanted.Missing) == 0 {
		return doctor.Registry{}, errors.New("the engine has " + strings.Join(wanted.Base, " and "))
	}
	ctx, cancel := context.WithTimeout(ctx, registryLimit)
	defer cancel()
	registry := doctor.Registry{Problems: map[string]string{}}
	for _, base := range wanted.Missing {
		if err := engine.AskRegistry(ctx, base); err != nil {
			registry.Problems[base] = firstLine(err)
		}
	}
	return registry, nil
}

// githubFacts asks the target's GitHub what up would, and which agent it wants.
func githubFacts(ctx context.Context, d deps, engine *dockerx.Engine, wanted config.Config) (doctor.GitHub, error) {
	if wanted.Target == "" {
		return doctor.GitHub{}, errors.New("no target in the settings")
	}
	target, err := ghapi.ParseTarget(wanted.Target)
	if err != nil {
		return doctor.GitHub{}, err
	}
	facts := doctor.GitHub{Host: target.Host, Agent: doctor.Agent{Now: time.Now()}}
	client, err := githubClient(ctx, d, wanted, wanted.Target)
	if err != nil {
		if !authFailed(err) {
			return facts, err
		}
		facts.Token = err
		return facts, nil
	}
	if facts.Skew, facts.Err = client.Skew(ctx); facts.Err != nil {
		return facts, nil
	}
	if _, facts.Token = client.RunnerByName(ctx, wanted.Name); facts.Token != nil {
		return facts, nil
	}
	if downloads, err := client.Downloads(ctx); err == nil && len(downloads) > 0 {
		facts.Agent.Newest = downloads[0].Version
	}
	facts.Agent.Version, err = engine.AgentVersion(ctx)
	if err != nil || !agentVersion.MatchString(facts.Agent.Version) {
		facts.Agent.Version = "" // an archive of the operator's own
		return facts, nil
	}
	when, _, err := client.Deprecation(ctx, facts.Agent.Version)
	facts.Agent.Deprecated = when.First() // a fleet of one job a runner registers all the time
	return facts, err
}

var agentVersion = regexp.MustCompile(`^\d+\.\d+\.\d+$`)
