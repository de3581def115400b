package lifecycle

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/supervisor"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Up are the options of up.
type Up struct {
	Fleet
	DryRun     bool
	Prove      bool // start a runner and its daemon first, even if the image is known to work
	CountGiven bool // on the command line
	Supervisor Supervisor
	// Report shows an error that nobody else does: of the stop of an attached fleet, after which
	// up ends as interrupted.
	Report func(s session.Session, err error)
}

// Supervisor says whether up leaves a supervisor in the background, and which.
type Supervisor struct {
	Wanted  bool
	Refused bool              // a supervisor in the foreground is ended too
	Attach  bool              // show its log
	Program string            // file of its program; "" for the usual one
	Output  supervisor.Output // of its log and metrics
}

// course is how up deals with a supervisor.
type course string

const (
	unaided course = "unaided" // make the fleet without one, and remove an existing supervisor
	leaves  course = "leaves"  // make the fleet first, and then leave a supervisor behind
	updates course = "updates" // give the existing supervisor the new desired state
)

func (o Supervisor) course(before dockerx.SupervisorState) course {
	switch {
	case before.Running && (o.Wanted || before.Foreground && !o.Refused):
		return updates
	case o.Wanted:
		return leaves
	}
	return unaided
}

// up is a run of up on one host.
type up struct {
	Host
	options   Up
	before    dockerx.SupervisorState // the existing supervisor
	container supervisor.Container    // of the supervisor that is left behind
	image     Image
}

// Run brings the fleet up on the session's host.
func (o Up) Run(ctx context.Context, s session.Session) error {
	started := time.Now()
	host, err := o.Find(ctx, s)
	if err != nil {
		return err
	}
	defer host.Engine.Close()
	u := &up{Host: host, options: o}
	if err := u.findSupervisor(ctx); err != nil {
		return err
	}
	if o.DryRun {
		return u.dryRun(ctx)
	}
	if u.image, err = u.ensureImage(ctx); err != nil {
		return err
	}
	name := o.Settings.Name
	unlock, err := Lock(ctx, s, u.Engine, name, u.image.Tag)
	if err != nil {
		return err
	}
	unlock = sync.OnceFunc(unlock)
	defer unlock()
	foreground := u.before.Foreground
	if u.before, err = u.Engine.Supervisor(ctx, name); err != nil {
		return err
	}
	if foreground != u.before.Foreground {
		return &ChangedError{Fleet: name}
	}
	if err := u.ensureCache(ctx, o.Supervisor.Program); err != nil {
		return err
	}
	if o.Prove {
		if err := u.prove(ctx, u.image); err != nil {
			return err
		}
	}
	if err := u.ensurePreload(ctx, u.image); err != nil {
		return err
	}
	if err := u.bring(ctx); err != nil {
		if o.Supervisor.Attach && ctx.Err() != nil {
			unlock()
			return o.stop(ctx, s)
		}
		return err
	}
	count := o.Settings.Runners.Count
	fmt.Fprintf(s.Streams.Err, "%d runner%s ready in %s\n", count, ui.Plural(count), ui.Duration(time.Since(started)))
	unlock()
	if o.Supervisor.Attach {
		if err := u.place().Attach(ctx, name, u.before, s.Streams.Out); err != nil {
			return err
		}
		return o.stop(ctx, s)
	}
	return nil
}

// stop stops an attached fleet after an interrupt, in the same way as down.
func (o Up) stop(ctx context.Context, s session.Session) error {
	down := Down{Settings: o.Settings, Fleet: o.Settings.Name, Wait: JobsWait, Theme: o.Theme}
	if err := down.Run(context.WithoutCancel(ctx), s); err != nil {
		o.Report(s, err)
	}
	return context.Cause(ctx)
}

// ChangedError reports that a supervisor in the foreground came or went while up ran.
type ChangedError struct{ Fleet string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("fleet %s: a supervisor in the foreground came or went meanwhile", e.Fleet)
}

func (u *up) place() supervisor.Place {
	return supervisor.Place{Engine: u.Engine, Endpoint: u.Endpoint, Target: u.Target}
}

// findSupervisor finds the existing supervisor, and the parts of a new one before anything is
// made.
func (u *up) findSupervisor(ctx context.Context) (err error) {
	name := u.Settings.Name
	if u.before, err = u.Engine.Supervisor(ctx, name); err != nil {
		return err
	}
	switch o := u.options.Supervisor; {
	case o.Wanted && !u.before.Foreground:
		u.container, err = u.place().NewContainer(ctx, u.Session, u.Settings, o.Program, o.Output)
	case o.Attach:
		return &dockerx.SupervisedError{Fleet: name, Foreground: true}
	}
	return err
}

// bring makes the fleet as the options ask.
func (u *up) bring(ctx context.Context) error {
	name, course := u.Settings.Name, u.options.Supervisor.course(u.before)
	var desired fleet.Desired
	var err error
	if course != unaided {
		if desired, err = u.Desired(ctx, u.image); err != nil {
			return err
		}
	}
	if course == updates {
		kept, err := u.Engine.State(name).Desired(ctx)
		switch {
		case err != nil:
			return err
		case kept == nil || kept.Spec.Agent.URL == desired.Spec.Agent.URL:
			return u.handOver(ctx, desired)
		case u.before.Foreground:
			return &dockerx.SupervisedError{Fleet: name, Foreground: true}
		}
		course = leaves // with access to the new target only, it can't remove the old target's runners
	}
	if u.before.ContainerID != "" {
		if err := u.Engine.StopSupervisor(ctx, name); err != nil {
			return err
		}
		fmt.Fprintf(u.Streams.Err, "%s supervisor   removed; its runners stay\n", u.Theme.Check())
	}
	if err := u.converge(ctx); err != nil || course == unaided {
		return err
	}
	if err := u.place().Start(ctx, u.container, desired); err != nil {
		return err
	}
	fmt.Fprintf(u.Streams.Err, "%s supervisor   keeps %s\n", u.Theme.Check(), desired)
	return session.Interrupted(ctx, nil) // everything is in place even if interrupted
}

// handOver gives the existing supervisor the new desired state.
func (u *up) handOver(ctx context.Context, desired fleet.Desired) error {
	show := u.NewProgress(u.Build.Progress, u.Theme)
	defer show.Close()
	return supervisor.HandOver{
		Place: u.place(), Targets: u.targets(), Container: u.container,
		Foreground: u.before.Foreground, Limit: u.Ready, Show: show,
	}.Run(ctx, desired)
}

func (u *up) targets() session.Targets {
	return session.Targets{Session: u.Session, Engine: u.Engine, Settings: u.Settings, Own: u.Target}
}

// converge brings the fleet to its desired state, without a supervisor.
func (u *up) converge(ctx context.Context) error {
	loop, desired, err := u.loop(ctx)
	if err != nil {
		return err
	}
	show := u.NewProgress(u.Build.Progress, u.Theme)
	defer show.Close()
	loop.Progress = show
	return session.Unlisted(loop.Converge(ctx, desired))
}

// loop returns the reconcile loop of a single run, and the desired state.
func (u *up) loop(ctx context.Context) (loop controller.Controller, desired fleet.Desired, err error) {
	spec, err := u.AgentSpec(ctx, u.image)
	if err != nil {
		return loop, desired, err
	}
	desired = u.desired(spec)
	desired.Policy.Once = true
	if u.options.Supervisor.course(u.before) == unaided {
		desired.Policy.AtOnce, desired.Spares = true, 0
	}
	name := u.Settings.Name
	loop = controller.Controller{Fleet: name, Engine: u.Engine}
	runners, err := u.Engine.Known(ctx, name)
	if err != nil {
		return loop, desired, err
	}
	if loop.Targets, err = u.targets().Open(ctx, name, runners); err != nil {
		return loop, desired, err
	}
	taken, err := u.Engine.Names(ctx)
	loop.NewName = func() string { return fleet.NewName(name, taken) }
	return loop, desired, err
}

// dryRun prints the plan.
func (u *up) dryRun(ctx context.Context) (err error) {
	out := u.Streams.Out
	if u.image, err = u.FindImage(ctx, u.Session, u.Engine); err != nil {
		return err
	}
	if u.image.ID == "" {
		fmt.Fprintln(out, "build   the runner image  (none fits)")
	}
	loop, desired, err := u.loop(ctx)
	if err != nil {
		return err
	}
	plan, err := loop.Plan(ctx, desired)
	if err != nil {
		return session.Unlisted(err)
	}
	course := u.options.Supervisor.course(u.before)
	switch {
	case course == updates:
		stored, err := u.Engine.State(u.Settings.Name).Desired(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "update  the supervisor  (%s)\n", desired.Change(stored))
	case u.before.ContainerID != "":
		fmt.Fprintln(out, "stop    the supervisor  (its runners stay)")
	}
	plan.Write(out)
	if course == leaves {
		fmt.Fprintf(out, "start   a supervisor  (%s)\n", desired)
	}
	return nil
}
