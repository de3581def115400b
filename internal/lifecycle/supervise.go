package lifecycle

import (
	"context"
	"io"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/supervisor"
)

// Supervise are the options of a supervisor in the foreground.
type Supervise struct {
	Fleet
	Output supervisor.Output
}

// Run supervises the fleet on the session's host until ctx ends, which is no error.
func (o Supervise) Run(ctx context.Context, s session.Session) error {
	host, err := o.Find(ctx, s)
	if err != nil {
		return err
	}
	engine, name := host.Engine, o.Settings.Name
	defer engine.Close()
	made, err := host.ensureImage(ctx)
	if err != nil {
		return err
	}
	desired, err := host.Desired(ctx, made)
	if err != nil {
		return err
	}
	unlock, err := Lock(ctx, s, engine, name, made.Tag)
	if err != nil {
		return err
	}
	lost, release, err := engine.HoldSupervisor(ctx, name, made.ID)
	if err == nil {
		err = engine.State(name).SaveDesired(ctx, desired)
	}
	unlock()
	if err != nil {
		return err
	}
	defer release()
	own := supervisor.New(supervisor.Options{Engine: engine, Fleet: name, Output: o.Output, Log: s.Streams.Err, Version: s.Version, UserAgent: s.UserAgent()})
	if host.Target != nil {
		document, err := s.Opener().Document(ctx, o.Settings, host.Target)
		if err == nil {
			err = own.Open(ctx, document)
		}
		if err != nil {
			return err
		}
	}
	return own.Foreground(ctx, lost, func(ctx context.Context, desired fleet.Desired) (fleet.Desired, error) {
		wanted, err := o.Source(s, engine).Recipe(ctx)
		if err != nil {
			return desired, err
		}
		builder := o.Builder(s, engine)
		builder.Progress, builder.Out, builder.Redraw = "quiet", io.Discard, false // its output does not belong in the supervisor's log
		return builder.Renew(ctx, wanted, desired)
	})
}
