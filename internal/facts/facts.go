// Package facts gathers the facts that doctor's checks judge. They come from the engine, its
// machine (directly or through a probe container), registries and GitHub. It may import
// dockerx, ghapi, access, cache, config, doctor, fleet, hint, hostcache and program.
package facts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/user"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/cache"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/hostcache"
	"github.com/runnerctl/runnerctl/internal/program"
)

// EngineLimit bounds the engine's first answers. A remote engine may take awayLimit once it
// has answered at all (dockerx.HostError).
const (
	EngineLimit = 10 * time.Second
	awayLimit   = 60 * time.Second
)

// CheckLimit bounds a single check.
func CheckLimit(env doctor.Env) time.Duration {
	if !env.Known.Local {
		return 2 * time.Minute
	}
	return 30 * time.Second
}

// Depth limits how much doctor's checks ask.
type Depth int

// The depths.
const (
	Everything Depth = iota
	ForUp            // the engine's machine and its ways out; up itself asks GitHub, and the build the registry
	Machine          // nothing beyond the engine's machine
)

// Source holds everything that facts are gathered from.
type Source struct {
	Engine   *dockerx.Engine
	Endpoint dockerx.Endpoint
	Settings config.Config
	GitHub   access.Opener
	GOOS     string // of this client
}

// Env returns the environment that doctor's checks read. Facts that are costly to gather are
// gathered when the first check needs them. If the engine does not answer, EngineErr holds the
// reason, and nothing else is known about it.
func (s Source) Env(ctx context.Context, depth Depth) doctor.Env {
	wanted := s.Settings
	env := doctor.Env{Offline: depth != Everything, Known: doctor.Facts{
		Client: doctor.Client{OS: s.GOOS, User: userName(), Proxy: proxyFacts(access.Proxy(s.GitHub.Env))}, Endpoint: s.Endpoint.Host,
		Wanted: doctor.Wanted{
			Count: wanted.Runners.Count, CPUs: wanted.Runners.CPUs, Memory: int64(wanted.Runners.Memory),
			Runtime: wanted.Runners.Runtime, Devices: wanted.Runners.Devices, Driver: wanted.Network.Driver, Target: wanted.Target, IDs: wanted.Runners.IDRange, Cache: int64(wanted.Cache.Size),
		},
	}}
	limit := EngineLimit
	if !s.Endpoint.Local() {
		limit = awayLimit
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	reported, err := askEngine(bounded, s.Engine, wanted, &env.Known)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%s did not answer within %s", s.Endpoint.Host, limit)
	}
	if err != nil {
		env.Known.EngineErr = dockerx.Reason(err)
		return env
	}
	env.Known.Local = isHere(s.Endpoint, reported)
	var here doctor.Machine
	if env.Known.Local {
		here = machineHere(s.Endpoint)
	}
	env.Known.Wanted.Pool = freePool(env.Known.Engine.Networks, doctor.Routes(here))
	s.look(&env, reported.Arch, here, depth)
	env.Registry = doctor.Once(func(ctx context.Context) (doctor.Registry, error) {
		return askRegistry(ctx, s.Engine, env.Known.Wanted)
	})
	env.GitHub = doctor.Once(s.github)
	env.Reach = doctor.Once(func(ctx context.Context) (doctor.Reach, error) {
		if !env.Known.Cache.Running {
			return doctor.Reach{}, nil
		}
		return askReach(ctx, s.Engine)
	})
	return env
}

// askReach asks the host's cache which servers it reaches.
func askReach(ctx context.Context, engine *dockerx.Engine) (doctor.Reach, error) {
	var all []cache.Reach
	if err := hostcache.Do(ctx, engine, cache.Request{Method: http.MethodGet, Path: "/reach"}, &all); err != nil {
		return doctor.Reach{}, err
	}
	found := doctor.Reach{Problems: map[string]string{}}
	for _, one := range all {
		if one.Problem != "" {
			found.Problems[one.Name] = one.Problem
		}
		if one.Skew.Abs() > found.Skew.Abs() {
			found.Skew = one.Skew
		}
	}
	return found, nil
}

// askEngine adds the facts that the engine returns at once.
func askEngine(ctx context.Context, engine *dockerx.Engine, wanted config.Config, known *doctor.Facts) (dockerx.Facts, error) {
	reported, err := engine.Facts(ctx)
	if err != nil {
		return reported, err
	}
	known.Engine = engineFacts(reported)
	networks, err := engine.Networks(ctx)
	if err != nil {
		return reported, err
	}
	for _, one := range networks {
		known.Engine.Networks = append(known.Engine.Networks, doctor.Network(one))
	}
	found, err := engine.Cache(ctx)
	if err != nil {
		return reported, err
	}
	known.Cache = doctor.Cache{Exists: found.ContainerID != "", Running: found.Running, Restarts: found.Restarts, ExitCode: found.ExitCode}
	tag, labels, err := engine.FleetImage(ctx, wanted.Name)
	if err != nil {
		return reported, err
	}
	known.Rootfs = doctor.Rootfs{Image: tag, Profile: labels[dockerx.LabelProfile], Buildx: labels[dockerx.LabelBuildx]}
	known.Wanted.Base = wanted.Image.Bases()
	for _, base := range known.Wanted.Base {
		switch id, err := engine.ImageID(ctx, base); {
		case err != nil:
			return reported, err
		case id == "":
			known.Wanted.Missing = append(known.Wanted.Missing, base)
		}
	}
	return reported, nil
}

// userName returns the name of the current user, or "" if it is unknown.
func userName() string {
	me, err := user.Current()
	if err != nil {
		return ""
	}
	return me.Username
}

// look adds the facts of the engine's machine; here is that machine if it is this one. One
// probe container serves the checks of the view from a container. If this process can't read the
// machine's files, the same container reads them.
func (s Source) look(env *doctor.Env, arch string, here doctor.Machine, asks Depth) {
	engine, endpoint, wanted := s.Engine, s.Endpoint, s.Settings
	plain := dockerx.ProbeOptions{Fleet: wanted.Name, Images: env.Known.Wanted.Base, Program: program.Own(arch)}
	way := wayOf(env.Known, wanted.Runners.Proxy)
	options := plain
	if asks == Everything {
		options.Connect = []string{doctor.MetadataService, doctor.Nowhere}
	}
	options.Connect = append(options.Connect, way.questions(asks)...)
	away := !env.Known.Local || env.Known.Engine.HasAppArmor() && !doctor.AppArmorReadable(here.Root)
	if away {
		for _, path := range doctor.Paths {
			options.Files = append(options.Files, strings.ReplaceAll(path, "KERNEL", env.Known.Engine.Kernel))
		}
	}
	ask := func(options dockerx.ProbeOptions) func(context.Context) (dockerx.Probed, error) {
		return doctor.Once(func(ctx context.Context) (dockerx.Probed, error) {
			options := options
			if id, err := engine.AnyImage(ctx); err == nil && id != "" {
				options.Images = append([]string{id}, options.Images...)
			}
			return engine.Probe(ctx, options)
		})
	}
	probe := ask(options)
	fromHost := plain
	fromHost.Connect, fromHost.Outside = way.questions(asks), true
	rootDir, local := env.Known.Engine.RootDir, env.Known.Local
	env.Container = doctor.Once(func(ctx context.Context) (doctor.Container, error) {
		seen, err := probe(ctx)
		container := doctor.Container{
			Mounts: seen.Mounts, Limits: seen.Limits, Way: way.seen(seen, asks),
			Metadata: seen.Connected[doctor.MetadataService], Nowhere: seen.Connected[doctor.Nowhere],
		}
		if err != nil || !container.Way.Asked || container.Way.Open() {
			return container, err
		}
		if seen, err := ask(fromHost)(ctx); err == nil { // otherwise only the container's way is judged
			other := way.seen(seen, asks)
			container.FromHost = &other
		}
		return container, ctx.Err()
	})
	env.Machine = func(ctx context.Context) (doctor.Machine, error) {
		if !away {
			return here, nil
		}
		seen, err := probe(ctx)
		if err != nil && local {
			return here, nil // better than nothing
		}
		return doctor.Machine{Root: seen.Files, Process: "proc/1", Limits: here.Limits}, err
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

// way is the address that containers must reach: the runners' proxy, otherwise the target. It
// is empty, so that only DNS servers are tried, if neither is usable, or if the client or the
// engine has a proxy and the runners have none.
type way struct{ target string }

// targetPatience is in seconds: resolving the target's name may ask a DNS server that is dead.
const targetPatience = 8

func wayOf(known doctor.Facts, proxy config.Proxy) way {
	to := known.Wanted.Target
	switch {
	case proxy.HTTPS != "" || proxy.HTTP != "":
		to = cmp.Or(proxy.HTTPS, proxy.HTTP)
	case len(known.Client.Proxy) > 0 || len(known.Engine.Proxy) > 0:
		return way{}
	}
	at, err := url.Parse(to)
	if err != nil || at.Host == "" || isLoopback(at.Hostname()) {
		return way{} // in a container, a loopback address is another machine
	}
	usual := "443"
	if at.Scheme == "http" {
		usual = "80"
	}
	return way{net.JoinHostPort(at.Hostname(), cmp.Or(at.Port(), usual))}
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

func (w way) questions(asks Depth) []string {
	switch {
	case asks == Machine:
		return nil
	case w.target == "":
		return []string{dockerx.Resolvers}
	}
	return []string{dockerx.Resolvers, w.question()}
}

func (w way) question() string { return fmt.Sprintf("%s/%d", w.target, targetPatience) }

func (w way) seen(seen dockerx.Probed, asks Depth) doctor.Way {
	return doctor.Way{Asked: asks != Machine, Target: w.target, Reached: seen.Connected[w.question()], Servers: seen.Servers, Answers: seen.Answers}
}

// Ulimits returns the limits that the engine can give runners. It returns none if nothing can
// be examined yet (a dry run before the first build).
func Ulimits(ctx context.Context, env doctor.Env) ([]fleet.Ulimit, error) {
	var noImage *dockerx.NoImageError
	machine, err := env.Machine(ctx)
	if err == nil && machine.Limits == "" {
		var seen doctor.Container
		seen, err = env.Container(ctx)
		machine.Limits = seen.Limits
	}
	if errors.As(err, &noImage) {
		return nil, nil
	}
	limits := doctor.LimitsOf(machine)
	return fleet.Ulimits(limits.Raises, limits.Hard, limits.OpenFiles), err
}

func engineFacts(reported dockerx.Facts) doctor.Engine {
	engine := doctor.Engine{
		Version: reported.Version, API: reported.API, Kernel: reported.Kernel, System: reported.OS, Name: reported.Name,
		StorageDriver: reported.StorageDriver, RootDir: reported.RootDir, StorageStatus: reported.StorageStatus,
		Cgroup: reported.Cgroup, CgroupDriver: reported.CgroupDriver, SecurityOptions: reported.SecurityOptions,
		Runtimes: reported.Runtimes, DefaultRuntime: reported.DefaultRuntime, Warnings: reported.Warnings, LiveRestore: reported.LiveRestore,
		Proxy: proxyFacts(httpproxy.Config{HTTPProxy: reported.HTTPProxy, HTTPSProxy: reported.HTTPSProxy, NoProxy: reported.NoProxy}), CPUs: reported.CPUs, Memory: reported.Memory,
	}
	if !reported.Now.IsZero() {
		engine.Skew = time.Until(reported.Now)
	}
	return engine
}

// freePool returns the block that runners' inner networks would take.
func freePool(networks []doctor.Network, routes []netip.Prefix) netip.Prefix {
	var outer []netip.Prefix
	for _, one := range networks {
		outer = append(outer, one.Blocks...)
	}
	bip, _, err := fleet.Pools(outer, routes)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(netip.MustParsePrefix(bip).Addr(), 16).Masked() // Pools takes a /16, docker0 half of it
}

// proxyFacts names the variables that are set, without the credentials that a proxy's URL may
// hold.
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

// Image examines any image, for the checks of images. fleetName owns the container that this
// needs.
func Image(engine *dockerx.Engine, name, fleetName string) func(context.Context) (doctor.Image, error) {
	return doctor.Once(func(ctx context.Context) (read doctor.Image, err error) {
		err = engine.ImageTree(ctx, name, fleetName, func(user string, tree io.Reader) error {
			read, err = doctor.ReadImage(name, user, tree)
			return err
		})
		return read, err
	})
}

// registryLimit bounds the wait for a registry that does not answer.
const registryLimit = 5 * time.Second

func askRegistry(ctx context.Context, engine *dockerx.Engine, wanted doctor.Wanted) (doctor.Registry, error) {
	if len(wanted.Missing) == 0 {
		return doctor.Registry{}, errors.New("the engine has " + strings.Join(wanted.Base, " and "))
	}
	ctx, cancel := context.WithTimeout(ctx, registryLimit)
	defer cancel()
	registry := doctor.Registry{Problems: map[string]string{}}
	for _, base := range wanted.Missing {
		switch login, err := engine.AskRegistry(ctx, base); {
		case err != nil && ctx.Err() != nil:
			registry.Problems[base] = fmt.Sprintf("no answer within %s", registryLimit)
		case err != nil:
			registry.Problems[base] = hint.FirstLine(err)
		case login:
			registry.Login = append(registry.Login, base)
		}
	}
	return registry, nil
}

// githubLimit bounds all requests to GitHub, including the time that the client itself waits.
const githubLimit = 10 * time.Second

// github asks the target's GitHub the same questions as up, and which agent it requires. Its
// clock, and whether it answers, need no token.
func (s Source) github(ctx context.Context) (doctor.GitHub, error) {
	wanted := s.Settings
	if wanted.Target == "" {
		return doctor.GitHub{}, errors.New("no target in the settings")
	}
	target, err := ghapi.ParseTarget(wanted.Target)
	if err != nil {
		return doctor.GitHub{}, err
	}
	options, err := s.GitHub.Reach(wanted)
	if err != nil {
		return doctor.GitHub{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, githubLimit)
	defer cancel()
	facts := doctor.GitHub{Host: target.Host}
	if facts.Skew, facts.Err = ghapi.Skew(ctx, target, options); facts.Err != nil {
		return facts, nil
	}
	client, err := s.GitHub.Client(ctx, wanted, wanted.Target)
	if err != nil {
		facts.Token = err
		return facts, nil
	}
	switch _, err := client.RunnerByName(ctx, wanted.Name); {
	case access.Denied(err):
		facts.Token = err
	case err != nil:
		facts.Untried = err
	default:
		facts.Agent = agentFacts(ctx, client, s.Engine)
	}
	return facts, nil
}

func agentFacts(ctx context.Context, client *ghapi.Client, engine *dockerx.Engine) doctor.Agent {
	agent := doctor.Agent{Now: time.Now()}
	downloads, err := client.Downloads(ctx)
	if err != nil {
		agent.Err = err
		return agent
	}
	if len(downloads) > 0 {
		agent.Newest = downloads[0].Version
	}
	version, err := engine.AgentVersion(ctx)
	if err != nil || !IsVersion(version) { // no agent, or an archive of the operator's own
		agent.Err = err
		return agent
	}
	agent.Version = version
	when, _, err := client.Deprecation(ctx, version)
	agent.Deprecated, agent.Err = when.First(), err // a fleet with one job per runner registers all the time
	return agent
}

var version = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

// IsVersion reports whether an agent is named by its version, as GitHub's agents are. An
// archive of the operator's own is named by its file.
func IsVersion(name string) bool { return version.MatchString(name) }
