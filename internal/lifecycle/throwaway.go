package lifecycle

import (
	"context"
	"errors"

	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/execute"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/transfer"
)

// ThrowAway are the options of run: a command in a fresh runner.
type ThrowAway struct {
	Fleet
	Command execute.Command
	Copy    transfer.Folder // copied into the runner first, unless it is empty
	Keep    bool            // leave the runner when the command has ended
}

// Run makes a runner, runs the command in it, and removes the runner. With Keep it returns the
// name of the runner that stays.
func (o ThrowAway) Run(ctx context.Context, s session.Session) (kept string, err error) {
	role := fleet.ThrowAway
	if o.Keep {
		role = fleet.Kept
	}
	return o.withOne(ctx, s, role, func(host Host, name string) error { return o.use(ctx, host, name) })
}

// withOne makes a runner of the role, uses it, and removes it. A runner of the role Kept stays, and its
// name is returned.
func (f Fleet) withOne(ctx context.Context, s session.Session, role fleet.Role, use func(host Host, name string) error) (kept string, err error) {
	host, _, err := f.Connect(ctx, s)
	if err != nil {
		return "", err
	}
	engine := host.Engine
	defer engine.Close()
	made, err := f.EnsureImage(ctx, s, engine)
	if err != nil {
		return "", err
	}
	spec, err := host.Spec(ctx, made)
	if err != nil {
		return "", err
	}
	spec.Role = role
	name, release, err := host.startThrowAway(ctx, spec)
	if err != nil {
		return "", err
	}
	defer release()
	err = use(host, name)
	if role == fleet.Kept {
		return name, err
	}
	if left := engine.Discard(ctx, name); left != nil {
		err = errors.Join(err, &LeftError{left})
	}
	return "", err
}

// LeftError reports why a throw-away runner could not be removed.
type LeftError struct{ error }

// Unwrap returns the cause.
func (e *LeftError) Unwrap() error { return e.error }

// startThrowAway makes a runner under a new name. The hold is created first and released last: a
// throw-away runner without one was left by a process that was killed.
func (h Host) startThrowAway(ctx context.Context, spec fleet.Spec) (name string, release func(), err error) {
	taken, err := h.Engine.Names(ctx)
	if err != nil {
		return "", nil, err
	}
	name = fleet.NewName(spec.Fleet+"-run", taken)
	release, err = h.Engine.Hold(ctx, spec.Fleet, name, spec.ImageID)
	if err != nil {
		return "", nil, err
	}
	if err := h.startOne(ctx, spec, name); err != nil {
		release()
		return "", nil, err
	}
	return name, release, nil
}

// prove starts a runner with its daemon and removes it: the image works on this engine.
func (h Host) prove(ctx context.Context, of Image) error {
	spec, err := h.Spec(ctx, of)
	if err != nil {
		return err
	}
	spec.Role, spec.DockerStart = fleet.ThrowAway, fleet.Eager
	if err := h.Engine.Unprove(ctx, of.ID); err != nil {
		return err
	}
	name, release, err := h.startThrowAway(ctx, spec)
	if err != nil {
		return err
	}
	defer release()
	if err := h.Engine.Discard(ctx, name); err != nil {
		return &LeftError{err}
	}
	return h.Engine.Prove(ctx, of.ID)
}

// startOne makes the runner and waits until it is ready. On an error it leaves nothing behind.
func (h Host) startOne(ctx context.Context, spec fleet.Spec, name string) error {
	s := h.Session
	if h.Build.Progress == "quiet" {
		s = s.Silent()
	}
	show := s.NewProgress(h.Build.Progress, h.Theme)
	defer show.Close()
	loop := controller.Controller{Fleet: spec.Fleet, Engine: h.Engine, Progress: show}
	return loop.Create(ctx, fleet.Desired{Spec: spec, Ready: h.Ready}, name)
}

// use copies the folder into the runner and runs the command there.
func (o ThrowAway) use(ctx context.Context, host Host, name string) error {
	runner, err := host.Engine.Runner(ctx, name)
	if err != nil {
		return err
	}
	if o.Copy.Dir != "" {
		if err := o.Copy.Send(ctx, host.Session, host.Engine, runner); err != nil {
			return err
		}
	}
	return o.Command.In(ctx, host.Session, host.Engine, runner)
}
