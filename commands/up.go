package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type upOptions struct {
	config  config.Config
	build   buildOptions
	dryRun  bool
	timeout time.Duration // for each runner to be ready
	public  bool          // allowed
	theme   ui.Theme
}

func upCommand(d deps) *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "bring the fleet to its count of runners and wait until each is ready",
		Description: "Examples:\n" +
			"   runnerctl up --count 3\n" +
			"   runnerctl up --target https://github.com/acme/api --count 3\n" +
			"   runnerctl up --dry-run",
		Flags: slices.Concat(configFlags(), buildFlags(), githubFlags(), wishFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			colorFlag(),
		}),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			options, err := upOptionsOf(c, d)
			if err != nil {
				return err
			}
			options.dryRun = c.Bool("dry-run")
			return upEverywhere(c.Context, d, options, c.IsSet("count"))
		},
	}
}

// wishFlags say what a fleet is to be like.
func wishFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "ephemeral", Usage: "a runner is gone after one job (=false: it stays)", DefaultText: "the file's runners.ephemeral, else true", EnvVars: []string{"RUNNERCTL_EPHEMERAL"}, Category: "GitHub"},
		&cli.BoolFlag{Name: "allow-public-repo", Usage: "take jobs of a public repository, whoever wrote them", EnvVars: []string{"RUNNERCTL_ALLOW_PUBLIC_REPO"}, Category: "GitHub"},
		&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "`N` runners", DefaultText: "the file's runners.count, else 1", EnvVars: []string{"RUNNERCTL_COUNT"}, Category: "Plan"},
		&cli.DurationFlag{Name: "timeout", Usage: "`LIMIT` for a runner to be ready: its inner daemon answers, GitHub lists it online", DefaultText: "the file's runners.readyTimeout, else 60s", EnvVars: []string{"RUNNERCTL_TIMEOUT"}, Category: "Plan"},
	}
}

// upOptionsOf reads them, and the settings.
func upOptionsOf(c *cli.Context, d deps) (upOptions, error) {
	loaded, err := settings(c)
	if err != nil {
		return upOptions{}, err
	}
	if !c.IsSet("count") {
		loaded.Runners.Count = countOn(d, loaded)
	}
	options := upOptions{config: loaded, public: c.Bool("allow-public-repo"), timeout: time.Duration(loaded.Runners.ReadyTimeout)}
	if c.IsSet("timeout") {
		options.timeout = c.Duration("timeout")
	}
	if options.build, err = buildOptionsOf(c, loaded); err != nil {
		return options, err
	}
	options.theme, err = theme(c, d, d.streams.ErrTTY)
	return options, err
}

func runUp(ctx context.Context, d deps, options upOptions) error {
	started := time.Now()
	host, err := findHost(ctx, d, options)
	if err != nil {
		return err
	}
	engine := host.engine
	defer engine.Close()
	if options.dryRun {
		return dryRun(ctx, d, engine, options, host.env, host.github)
	}
	tag, id, err := host.image(ctx, d, options)
	if err != nil {
		return err
	}
	unlock, err := lockFleet(ctx, d, engine, options.config.Name, tag)
	if err != nil {
		return err
	}
	defer unlock()
	if err := engine.RemoveOrphans(ctx, options.config.Name); err != nil {
		return err
	}

	plan, execution, forges, err := makePlan(ctx, d, engine, options.config, tag, id, host.env, host.github)
	if err != nil {
		return err
	}
	execution.Ready = options.timeout
	show := newProgress(d, options.theme)
	err = fleet.Execute(ctx, engine, forges, plan, execution, show)
	show.Close()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.streams.Err, "%d runner%s ready in %s\n", options.config.Runners.Count, plural(options.config.Runners.Count), ui.Duration(time.Since(started)))
	return nil
}

// host is a machine that is fit for the fleet.
type host struct {
	engine   *dockerx.Engine
	endpoint dockerx.Endpoint
	env      doctor.Env
	github   *registrar // nil where the settings name no target
}

// findHost connects and tells what it finds fit; the caller closes the engine.
func findHost(ctx context.Context, d deps, options upOptions) (_ host, err error) {
	var found host
	if found.github, err = checkGitHub(ctx, d, options.config, options.public); err != nil {
		return found, err
	}
	if found.engine, found.endpoint, err = connect(d); err != nil {
		return found, err
	}
	defer func() {
		if err != nil {
			found.engine.Close()
		}
	}()
	env := doctorEnv(ctx, d, found.engine, found.endpoint, options.config, true)
	found.env = env
	checks := requiredChecks(ctx, env)
	if err := ctx.Err(); err != nil {
		return found, err
	}
	if known := env.Known; known.EngineErr == nil {
		fmt.Fprintf(d.streams.Err, "host   %s · Docker %s · kernel %s · cgroup v%s\n", found.endpoint.Name, known.Engine.Version, known.Engine.Kernel, known.Engine.Cgroup)
	}
	if checks.Failed() {
		writeReport(d.streams.Err, checks, options.theme, env)
		return found, errFailed
	}
	fmt.Fprintf(d.streams.Err, "checks %s %d passed\n", options.theme.Check(), checks.Counts()[doctor.Pass])
	if found.github != nil {
		fmt.Fprintf(d.streams.Err, "github %s %s\n", options.theme.Check(), found.github)
	}
	return found, nil
}

// image makes sure that the fleet's is there, and tells of it.
func (h host) image(ctx context.Context, d deps, options upOptions) (tag, id string, err error) {
	tag, id, built, err := ensureImage(ctx, d, h.engine, options.build)
	if err != nil {
		return "", "", err
	}
	note := "unchanged"
	if built {
		note = "built"
	}
	fmt.Fprintf(d.streams.Err, "image  %s %s (%s)\n", options.theme.Check(), tag, note)
	return tag, id, nil
}

// requiredChecks are those that a runner is not made without. On this machine no
// container is made to look from: the runner tells itself whether one starts.
func requiredChecks(ctx context.Context, env doctor.Env) doctor.Report {
	if env.Known.Local {
		env.Container = nil
	}
	return doctor.Run(ctx, doctor.Required(doctor.Catalogue()), env, checkLimit)
}

// lockFleet makes this the only runnerctl that changes the fleet.
func lockFleet(ctx context.Context, d deps, engine *dockerx.Engine, name, image string) (unlock func(), err error) {
	return engine.Lock(ctx, name, image, func() {
		fmt.Fprintf(d.streams.Err, "fleet %s is being changed by another runnerctl, waiting for it\n", name)
	})
}

func dryRun(ctx context.Context, d deps, engine *dockerx.Engine, options upOptions, env doctor.Env, github *registrar) error {
	tag, id, err := plannedImage(ctx, d, engine, options.config)
	if err != nil {
		return err
	}
	plan, _, _, err := makePlan(ctx, d, engine, options.config, tag, id, env, github)
	if err != nil {
		return err
	}
	if id == "" {
		fmt.Fprintln(d.streams.Out, "build   the runner image  (none fits)")
	}
	plan.Write(d.streams.Out)
	return nil
}

// plannedImage is the image that up would use; no id where it must be built.
func plannedImage(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config) (tag, id string, err error) {
	wanted, err := recipeOf(ctx, d, engine, loaded)
	if err != nil {
		return "", "", err
	}
	tag, id, missing, err := wanted.find(ctx, engine)
	if missing != "" {
		tag = repository
	}
	return tag, id, err
}

func specOf(ctx context.Context, engine *dockerx.Engine, wanted config.Config, tag, id string, env doctor.Env) (fleet.Spec, error) {
	spec := fleet.Spec{
		Fleet: wanted.Name, Image: tag, ImageID: id,
		CPUs: min(wanted.Runners.CPUs, float64(env.Known.Engine.CPUs)), Memory: int64(wanted.Runners.Memory), Pids: wanted.Runners.Pids, Shm: int64(wanted.Runners.Shm),
		InnerPrivileged: wanted.Runners.InnerPrivileged, NetworkDriver: wanted.Network.Driver, MTU: wanted.Network.MTU,
		Runtime: wanted.Runners.Runtime, AppArmor: "unconfined",
	}
	if env.Known.Engine.HasAppArmor() {
		machine, err := env.Machine(ctx)
		var noImage *dockerx.NoImageError
		switch {
		case errors.As(err, &noImage): // a dry run before the first build
		case err != nil:
			return spec, fmt.Errorf("AppArmor profiles of %s: %w", env.Known.Endpoint, err)
		case doctor.AppArmorProfileLoaded(machine.Root, doctor.AppArmorProfile):
			spec.AppArmor = doctor.AppArmorProfile
		}
	}
	networks, err := engine.Networks(ctx)
	if err != nil {
		return spec, err
	}
	var routes []netip.Prefix
	if env.Known.Local {
		machine, err := env.Machine(ctx)
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

// agentSpec is specOf with the agent that takes the runners' jobs from GitHub, where
// that is not nil.
func agentSpec(ctx context.Context, d deps, engine *dockerx.Engine, wanted config.Config, tag, id string, env doctor.Env, github *registrar) (fleet.Spec, error) {
	spec, err := specOf(ctx, engine, wanted, tag, id, env)
	if err != nil || github == nil {
		return spec, err
	}
	told, err := engine.Facts(ctx)
	if err != nil {
		return spec, err
	}
	if err := github.checkClock(ctx, d, wanted, told.Now); err != nil {
		return spec, err
	}
	if spec.CAs, err = githubCAs(wanted); err != nil {
		return spec, err
	}
	spec.Agent = github.agent(wanted, fleet.Marker(wanted.Name, told.ID))
	return spec, nil
}

// makePlan observes the fleet and decides what to do; github is nil where its
// runners have no agent.
func makePlan(ctx context.Context, d deps, engine *dockerx.Engine, wanted config.Config, tag, id string, env doctor.Env, github *registrar) (plan fleet.Plan, options fleet.Options, forges fleet.Forges, err error) {
	if options.Spec, err = agentSpec(ctx, d, engine, wanted, tag, id, env, github); err != nil {
		return plan, options, nil, err
	}
	observed, forges, orphans, err := observe(ctx, d, engine, wanted, wanted.Name, github)
	if err != nil {
		return plan, options, nil, err
	}
	taken, err := engine.Names(ctx)
	if err != nil {
		return plan, options, nil, err
	}
	var mu sync.Mutex
	options.NewName = func() string {
		mu.Lock()
		defer mu.Unlock()
		return newName(wanted.Name, taken)
	}
	return fleet.Make(observed, orphans, wanted.Runners.Count, options.Spec, options.NewName), options, forges, nil
}

// newName makes a name that no container on the engine has.
func newName(fleetName string, taken map[string]bool) string {
	for {
		random := make([]byte, 4)
		_, _ = rand.Read(random) // never fails (crypto/rand)
		for i := range random {
			random[i] = fleet.NameLetters[int(random[i])%len(fleet.NameLetters)]
		}
		name := fleetName + "-" + string(random)
		if !taken[name] {
			taken[name] = true
			return name
		}
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
