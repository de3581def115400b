// Package lifecycle brings fleets up and down on one host or on several, makes a runner for one
// command, and removes objects that nobody needs. It puts together the checks, the image, the
// desired state, the reconcile loop and the supervisor. It imports dockerx and
// internal/{access,config,controller,doctor,execute,export,facts,fleet,hint,image,prune,session,
// supervisor,transfer,ui,view}.
package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/access"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
)

// Fleet is a fleet as its settings and the command line describe it.
type Fleet struct {
	Settings      config.Config
	Ready         time.Duration // time limit for each runner to be ready
	PublicAllowed bool          // it may take jobs of public repositories
	Build         Build
	Theme         ui.Theme
}

// Build are the options of a build of the fleet's image.
type Build struct {
	Pull          bool
	NoCache       bool
	BootstrapBase bool
	Progress      string // auto, tty, plain, quiet
	For           image.Platform
}

// Source returns the source of the fleet's image. If engine is nil, it connects to one only if
// the engine's architecture matters.
func (f Fleet) Source(s session.Session, engine *dockerx.Engine) image.Source {
	return image.Source{Settings: f.Settings, For: f.Build.For, GitHub: s.Opener(), Engine: engine, Connect: func() (*dockerx.Engine, error) {
		own, _, err := s.Connect()
		return own, err
	}}
}

// Builder returns the builder of the fleet's image. engine may be nil to write the context only.
func (f Fleet) Builder(s session.Session, engine *dockerx.Engine) image.Builder {
	builder := image.Builder{
		Engine: engine, Reach: func() (ghapi.Options, error) { return s.Opener().Reach(f.Settings) }, Version: s.Version,
		Pull: f.Build.Pull, NoCache: f.Build.NoCache, BootstrapBase: f.Build.BootstrapBase, Progress: f.Build.Progress,
		Out: s.Streams.Err, Redraw: s.Redraws(),
	}
	if builder.Progress == "auto" && (!builder.Redraw || s.Color == "never") {
		builder.Progress = "plain" // BuildKit's own display on terminals supports neither
	}
	return builder
}

// EnsureImage builds the fleet's image unless the engine has it.
func (f Fleet) EnsureImage(ctx context.Context, s session.Session, engine *dockerx.Engine) (made Image, err error) {
	wanted, err := f.Source(s, engine).Recipe(ctx)
	if err != nil {
		return made, err
	}
	made.Tag, made.ID, made.Built, err = f.Builder(s, engine).Ensure(ctx, wanted)
	return made, err
}

// FindImage returns the image that up would use. If it must be built, there is no id.
func (f Fleet) FindImage(ctx context.Context, s session.Session, engine *dockerx.Engine) (Image, error) {
	wanted, err := f.Source(s, engine).Recipe(ctx)
	if err != nil {
		return Image{}, err
	}
	found, err := wanted.Find(ctx, engine)
	return Image{Tag: found.Tag, ID: found.ID}, err
}

// Image is a runner image on an engine.
type Image struct {
	Tag, ID string
	Built   bool // just now
}

// Host is a machine on which a fleet may live.
type Host struct {
	session.Session
	Fleet
	Engine   *dockerx.Engine
	Endpoint dockerx.Endpoint
	Env      doctor.Env
	Target   *access.Target // nil if the settings name none
}

// Connect opens a session's host and runs the checks that must pass before a runner is made. It
// prints the checks if one fails. The caller closes the engine.
func (f Fleet) Connect(ctx context.Context, s session.Session) (h Host, passed int, err error) {
	h = Host{Session: s, Fleet: f}
	if h.Engine, h.Endpoint, err = s.Connect(); err != nil {
		return h, 0, err
	}
	defer func() {
		if err != nil {
			h.Engine.Close()
		}
	}()
	h.Env = s.Facts(h.Engine, h.Endpoint, f.Settings).Env(ctx, facts.ForUp)
	checks := doctor.Run(ctx, doctor.Required(doctor.Catalogue()), h.Env, facts.CheckLimit(h.Env))
	if err := ctx.Err(); err != nil {
		return h, 0, err
	}
	switch known := h.Env.Known; {
	case checks.Failed() && known.EngineErr != nil: // the other checks have nothing to show
		return h, 0, fmt.Errorf("no engine: %w", known.EngineErr)
	case checks.Failed():
		h.writeHost()
		view.WriteReport(s.Streams.Err, checks, f.Theme, h.Env)
		return h, 0, session.ErrFailed
	}
	return h, checks.Counts()[doctor.Pass], nil
}

func (h Host) writeHost() {
	engine := h.Env.Known.Engine
	fmt.Fprintf(h.Streams.Err, "host   %s · Docker %s · kernel %s · cgroup v%s\n", h.Endpoint.Name, engine.Version, engine.Kernel, engine.Cgroup)
}

// Find is Connect for a fleet that may have a target. It prints the host, the checks and the target.
func (f Fleet) Find(ctx context.Context, s session.Session) (Host, error) {
	target, err := s.Opener().Target(ctx, f.Settings, f.PublicAllowed)
	if err != nil {
		return Host{}, err
	}
	h, passed, err := f.Connect(ctx, s)
	if err != nil {
		return h, err
	}
	h.Target = target
	h.writeHost()
	fmt.Fprintf(s.Streams.Err, "checks %s %d passed\n", f.Theme.Check(), passed)
	if target != nil {
		fmt.Fprintf(s.Streams.Err, "github %s %s\n", f.Theme.Check(), target)
	}
	return h, nil
}

// ensureImage makes sure that the fleet's image exists, and reports it.
func (h Host) ensureImage(ctx context.Context) (Image, error) {
	made, err := h.EnsureImage(ctx, h.Session, h.Engine)
	if err != nil {
		return made, err
	}
	note := "unchanged"
	if made.Built {
		note = "built"
	}
	fmt.Fprintf(h.Streams.Err, "image  %s %s (%s)\n", h.Theme.Check(), made.Tag, note)
	return made, nil
}

// Lock makes sure that no other runnerctl changes a fleet.
func Lock(ctx context.Context, s session.Session, engine *dockerx.Engine, name, image string) (unlock func(), err error) {
	return engine.Lock(ctx, name, image, func() {
		fmt.Fprintf(s.Streams.Err, "fleet %s is being changed by another runnerctl, waiting for it\n", name)
	})
}
