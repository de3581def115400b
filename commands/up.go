package commands

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type upOptions struct {
	config  config.Config
	build   buildOptions
	dryRun  bool
	timeout time.Duration // for each runner to be ready
	public  bool          // public repositories are allowed
	theme   ui.Theme

	// Options of the supervisor in the background.
	supervised   bool // leave one behind
	noSupervisor bool // --no-supervisor is set: one in the foreground goes too
	attach       bool
	binary       string // file of its program; "" for the usual one
	tell         telling
}

func upCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:     "up",
		Category: "Run",
		Usage:    "bring the fleet to its count of runners and wait until each is ready",
		Description: "With a target and one job a runner, a supervisor stays behind and keeps the fleet so: a small container on the engine.\n\nExamples:\n" +
			"   runnerctl up --count 3\n" +
			"   runnerctl up --target https://github.com/acme/api --count 3\n" +
			"   runnerctl up --attach\n" +
			"   runnerctl up --dry-run",
		Flags: slices.Concat(configFlags(), buildFlags(), githubFlags(), wishFlags(), supervisorFlags(), tellingFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			colorFlag(),
		}),
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			options, err := upOptionsOf(c, d)
			if err != nil {
				return err
			}
			options.dryRun = c.Bool("dry-run")
			if err := options.superviseAs(c); err != nil {
				return err
			}
			return upEverywhere(c.Context, d, options, c.IsSet("count"))
		},
	}}
}

// wishFlags are the flags that describe a fleet's desired state.
func wishFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "ephemeral", Usage: "a runner is gone after one job (=false: it stays)", DefaultText: "the file's runners.ephemeral, else true", EnvVars: []string{"RUNNERCTL_EPHEMERAL"}, Category: "GitHub"},
		&cli.BoolFlag{Name: "allow-public-repo", Usage: "take jobs of a public repository, whoever wrote them", EnvVars: []string{"RUNNERCTL_ALLOW_PUBLIC_REPO"}, Category: "GitHub"},
		&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Usage: "`N` runners", DefaultText: "the file's runners.count, else 1", EnvVars: []string{"RUNNERCTL_COUNT"}, Category: "Plan"},
		&cli.DurationFlag{Name: "timeout", Usage: "`LIMIT` for a runner to be ready: its inner daemon answers, GitHub lists it online", DefaultText: "the file's runners.readyTimeout, else 60s", EnvVars: []string{"RUNNERCTL_TIMEOUT"}, Category: "Plan"},
	}
}

func supervisorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "no-supervisor", Usage: "leave none behind, and take away the one that is there; its runners stay", DefaultText: "true without a target and with runners.ephemeral: false", EnvVars: []string{"RUNNERCTL_NO_SUPERVISOR"}, Category: "Supervisor"},
		&cli.BoolFlag{Name: "attach", Usage: "show the supervisor's log; Ctrl-C stops the fleet, as down does", Category: "Supervisor"},
		&cli.StringFlag{Name: "supervisor-binary", Usage: "`FILE` of its program: a static runnerctl for the engine's machine", DefaultText: "runnerctl-linux-ARCH beside this program, else this program", EnvVars: []string{"RUNNERCTL_SUPERVISOR_BINARY"}, Category: "Supervisor"},
	}
}

// superviseAs reads the flags that concern the supervisor.
func (o *upOptions) superviseAs(c *cli.Context) (err error) {
	o.attach, o.binary = c.Bool("attach"), c.String("supervisor-binary")
	o.noSupervisor = c.Bool("no-supervisor")
	o.supervised = o.config.Target != "" && o.config.Runners.Ephemeral
	if c.IsSet("no-supervisor") {
		o.supervised = !o.noSupervisor
	}
	wrong := func(problem string) error { return &cmdline.UsageError{Command: "up", Problem: problem} }
	switch {
	case o.supervised && o.config.Target == "":
		return wrong("--no-supervisor=false: one in the background needs a target; runnerctl supervise does without")
	case o.attach && !o.supervised:
		return wrong("--attach: this fleet has no supervisor, since it has no target, or runners.ephemeral: false, or --no-supervisor")
	}
	o.tell, err = tellingOf(c)
	return err
}

// upOptionsOf reads the flags and the settings.
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
	engine, name := host.engine, options.config.Name
	defer engine.Close()
	before, err := engine.Supervisor(ctx, name)
	if err != nil {
		return err
	}
	var to heir // found before anything is made
	if options.supervised && !before.Foreground {
		if to, err = host.heir(ctx, d, options.config, options.binary, options.tell); err != nil {
			return err
		}
	} else if options.attach {
		return &dockerx.SupervisedError{Fleet: name, Foreground: true}
	}
	if options.dryRun {
		return dryRun(ctx, d, host, options, before)
	}
	tag, id, err := host.image(ctx, d, options)
	if err != nil {
		return err
	}
	unlock, err := lockFleet(ctx, d, engine, name, tag)
	if err != nil {
		return err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	foreground := before.Foreground
	if before, err = engine.Supervisor(ctx, name); err != nil {
		return err
	}
	if foreground != before.Foreground {
		return hint.Add(fmt.Errorf("fleet %s: a supervisor in the foreground came or went meanwhile", name), "run runnerctl up again")
	}
	if err := host.bring(ctx, d, options, tag, id, before, to); err != nil {
		if options.attach && ctx.Err() != nil {
			unlock()
			return host.stop(ctx, d, options)
		}
		return err
	}
	fmt.Fprintf(d.streams.Err, "%d runner%s ready in %s\n", options.config.Runners.Count, plural(options.config.Runners.Count), ui.Duration(time.Since(started)))
	unlock()
	if options.attach {
		return host.attach(ctx, d, options, before)
	}
	return nil
}

// course is how up deals with a supervisor.
type course string

const (
	unaided course = "unaided" // make the fleet without one, and remove an existing supervisor
	leaves  course = "leaves"  // make the fleet first, and then leave a supervisor behind
	tells   course = "tells"   // give the existing supervisor the new wish
)

func (o upOptions) course(before dockerx.SupervisorState) course {
	switch {
	case before.Running && (o.supervised || before.Foreground && !o.noSupervisor):
		return tells
	case o.supervised:
		return leaves
	}
	return unaided
}

// bring makes the fleet as the options ask. before is the existing supervisor; the one that is
// left behind is made of to.
func (h host) bring(ctx context.Context, d deps, options upOptions, tag, id string, before dockerx.SupervisorState, to heir) error {
	name, course := options.config.Name, options.course(before)
	var wish fleet.Wish
	var err error
	if course != unaided {
		if wish, err = h.wish(ctx, options, tag, id); err != nil {
			return err
		}
	}
	if course == tells {
		kept, err := h.engine.State(name).Wish(ctx)
		switch {
		case err != nil:
			return err
		case kept == nil || kept.Spec.Agent.URL == wish.Spec.Agent.URL:
			return h.handOver(ctx, d, options, before, to, wish)
		case before.Foreground:
			return &dockerx.SupervisedError{Fleet: name, Foreground: true}
		}
		course = leaves // with access to the new target only, it can't remove the old target's runners
	}
	if before.ContainerID != "" {
		if err := h.engine.StopSupervisor(ctx, name); err != nil {
			return err
		}
		fmt.Fprintf(d.streams.Err, "%s supervisor   taken away; its runners stay\n", options.theme.Check())
	}
	if err := h.converge(ctx, d, options, tag, id); err != nil || course == unaided {
		return err
	}
	if err := h.entrust(ctx, to, wish); err != nil {
		return err
	}
	fmt.Fprintf(d.streams.Err, "%s supervisor   keeps %s\n", options.theme.Check(), wish)
	return interrupted(ctx, nil) // everything is in place even if interrupted
}

// converge brings the fleet to its desired state, without a supervisor.
func (h host) converge(ctx context.Context, d deps, options upOptions, tag, id string) error {
	loop, wish, err := h.loop(ctx, d, options, tag, id)
	if err != nil {
		return err
	}
	show := newProgress(d, options.build.progress, options.theme)
	defer show.Close()
	loop.Progress = show
	return unlisted(loop.Converge(ctx, wish))
}

// loop returns the reconcile loop of a single run, and the desired state that the options ask
// for.
func (h host) loop(ctx context.Context, d deps, options upOptions, tag, id string) (loop controller.Controller, wish fleet.Wish, err error) {
	spec, err := agentSpec(ctx, h.engine, options.config, tag, id, h.env, h.github)
	if err != nil {
		return loop, wish, err
	}
	wish = options.wish(spec)
	if wish.Policy = (fleet.Policy{Once: true, AtOnce: !options.supervised}); !options.supervised {
		wish.Spares = 0
	}
	name := options.config.Name
	loop = controller.Controller{Fleet: name, Engine: h.engine}
	runners, err := h.engine.Known(ctx, name)
	if err != nil {
		return loop, wish, err
	}
	if loop.Forges, err = openForges(ctx, d, h.engine, options.config, name, runners, h.github); err != nil {
		return loop, wish, err
	}
	taken, err := h.engine.Names(ctx)
	loop.NewName = func() string { return fleet.NewName(name, taken) }
	return loop, wish, err
}

// host is a machine that fits the fleet.
type host struct {
	engine   *dockerx.Engine
	endpoint dockerx.Endpoint
	env      doctor.Env
	github   *access.Target // nil if the settings name no target
}

// findHost connects and prints what it finds. The caller closes the engine.
func findHost(ctx context.Context, d deps, options upOptions) (_ host, err error) {
	var found host
	if found.github, err = d.opener().Target(ctx, options.config, options.public); err != nil {
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
	env := d.facts(found.engine, found.endpoint, options.config).Env(ctx, facts.ForUp)
	found.env = env
	checks := requiredChecks(ctx, env)
	if err := ctx.Err(); err != nil {
		return found, err
	}
	if known := env.Known; known.EngineErr == nil {
		fmt.Fprintf(d.streams.Err, "host   %s · Docker %s · kernel %s · cgroup v%s\n", found.endpoint.Name, known.Engine.Version, known.Engine.Kernel, known.Engine.Cgroup)
	}
	if checks.Failed() {
		return found, unfit(d, checks, options.theme, env)
	}
	fmt.Fprintf(d.streams.Err, "checks %s %d passed\n", options.theme.Check(), checks.Counts()[doctor.Pass])
	if found.github != nil {
		fmt.Fprintf(d.streams.Err, "github %s %s\n", options.theme.Check(), found.github)
	}
	return found, nil
}

// image makes sure that the fleet's image exists, and reports it.
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

// requiredChecks runs the checks that must pass before a runner is made.
func requiredChecks(ctx context.Context, env doctor.Env) doctor.Report {
	return doctor.Run(ctx, doctor.Required(doctor.Catalogue()), env, facts.CheckLimit(env))
}

// lockFleet makes sure that no other runnerctl changes the fleet.
func lockFleet(ctx context.Context, d deps, engine *dockerx.Engine, name, image string) (unlock func(), err error) {
	return engine.Lock(ctx, name, image, func() {
		fmt.Fprintf(d.streams.Err, "fleet %s is being changed by another runnerctl, waiting for it\n", name)
	})
}

func dryRun(ctx context.Context, d deps, host host, options upOptions, before dockerx.SupervisorState) error {
	tag, id, err := plannedImage(ctx, d, host.engine, options.config)
	if err != nil {
		return err
	}
	if id == "" {
		fmt.Fprintln(d.streams.Out, "build   the runner image  (none fits)")
	}
	loop, wish, err := host.loop(ctx, d, options, tag, id)
	if err != nil {
		return err
	}
	plan, err := loop.Plan(ctx, wish)
	if err != nil {
		return unlisted(err)
	}
	course := options.course(before)
	switch {
	case course == tells:
		if err := host.dryTell(ctx, d, options.config.Name, wish); err != nil {
			return err
		}
	case before.ContainerID != "":
		fmt.Fprintln(d.streams.Out, "stop    the supervisor  (its runners stay)")
	}
	plan.Write(d.streams.Out)
	if course == leaves {
		fmt.Fprintf(d.streams.Out, "leave   a supervisor  (%s)\n", wish)
	}
	return nil
}

// dryTell prints the wish that the supervisor would get.
func (h host) dryTell(ctx context.Context, d deps, name string, wish fleet.Wish) error {
	kept, err := h.engine.State(name).Wish(ctx)
	if err != nil {
		return err
	}
	said := wish.String()
	switch {
	case kept == nil:
	case kept.Spec.Hash() != wish.Spec.Hash():
		said += "; its runners are replaced one by one, each after its job"
	case kept.Count == wish.Count && kept.Spares == wish.Spares:
		said = "nothing new: " + said
	default:
		said += "; so far " + kept.String()
	}
	fmt.Fprintf(d.streams.Out, "tell    the supervisor  (%s)\n", said)
	return nil
}

// plannedImage returns the image that up would use. The id is empty if the image must be
// built.
func plannedImage(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config) (tag, id string, err error) {
	wanted, err := imageSource(d, engine, loaded).Recipe(ctx)
	if err != nil {
		return "", "", err
	}
	found, err := wanted.Find(ctx, engine)
	return found.Tag, found.ID, err
}

func specOf(ctx context.Context, engine *dockerx.Engine, wanted config.Config, tag, id string, env doctor.Env) (fleet.Spec, error) {
	spec := fleet.Spec{
		Fleet: wanted.Name, Image: tag, ImageID: id,
		CPUs: min(wanted.Runners.CPUs, float64(env.Known.Engine.CPUs)), Memory: int64(wanted.Runners.Memory), Pids: wanted.Runners.Pids, Shm: int64(wanted.Runners.Shm),
		InnerPrivileged: wanted.Runners.InnerPrivileged, NetworkDriver: wanted.Network.Driver, MTU: wanted.Network.DriverMTU(),
		Runtime: wanted.Runners.Runtime, AppArmor: "unconfined", Env: wanted.Runners.Env,
		Syscalls: slices.Sorted(slices.Values(wanted.Runners.Syscalls)), Devices: slices.Sorted(slices.Values(wanted.Runners.Devices)),
	}
	var err error
	if spec.Dockerd, err = wanted.Runners.Dockerd.JSON(); err != nil {
		return spec, fmt.Errorf("runners.dockerd: %w", err)
	}
	if proxy := wanted.Runners.Proxy; proxy.HTTP != "" || proxy.HTTPS != "" {
		spec.Proxy = &fleet.Proxy{HTTP: proxy.HTTP, HTTPS: proxy.HTTPS, Except: proxy.NoProxy}
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
	if spec.Ulimits, err = facts.Ulimits(ctx, env); err != nil {
		return spec, err
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

// agentSpec is specOf with the agent that takes jobs from GitHub, unless github is nil.
func agentSpec(ctx context.Context, engine *dockerx.Engine, wanted config.Config, tag, id string, env doctor.Env, github *access.Target) (fleet.Spec, error) {
	spec, err := specOf(ctx, engine, wanted, tag, id, env)
	if err != nil || github == nil {
		return spec, err
	}
	told, err := engine.Facts(ctx)
	if err != nil {
		return spec, err
	}
	if err := github.CheckClock(ctx, told.Now); err != nil {
		return spec, err
	}
	if spec.CAs, err = access.CAs(wanted); err != nil {
		return spec, err
	}
	spec.Agent = github.Agent(wanted, fleet.Marker(wanted.Name, told.ID))
	return spec, nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
