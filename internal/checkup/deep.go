package checkup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/view"
)

// deep is the self-test on one engine.
type deep struct {
	session.Session
	Options
	engine *dockerx.Engine
	env    doctor.Env
}

// run prints each step as it ends, unless the output is JSON. If it returns an error, its
// result still holds everything found so far.
func (d deep) run(ctx context.Context, unfit bool) (*doctor.Deep, error) {
	observe := func(doctor.Step) {}
	if !d.JSON {
		style := view.DoctorStyle(d.Streams.Out, d.Theme, d.env)
		fmt.Fprintln(d.Streams.Out, style.Bold("A real runner"))
		observe = func(step doctor.Step) { doctor.WriteStep(d.Streams.Out, step, style) }
	}
	if unfit {
		untried := doctor.NotTried("a required check failed")
		observe(untried.Steps[0])
		return &untried, nil
	}
	result, err := d.test(ctx, observe)
	if err != nil {
		result.Reason = err.Error()
	}
	return &result, err
}

// test makes sure that the image exists, then runs the self-test.
func (d deep) test(ctx context.Context, observe func(doctor.Step)) (doctor.Deep, error) {
	none := doctor.Deep{Steps: []doctor.Step{}, Attempts: []doctor.Attempt{}}
	own := lifecycle.Fleet{Settings: d.Settings, Build: d.Build}
	found, err := d.ensureImage(ctx, own)
	if err != nil {
		return none, err
	}
	spec, err := lifecycle.Host{Session: d.Session, Fleet: own, Engine: d.engine, Env: d.env}.Spec(ctx, found)
	if err != nil {
		none.Image = found.Tag
		return none, err
	}
	return selftest.Run(ctx, d.engine, selftest.Options{
		Spec: spec, Ready: time.Duration(d.Settings.Runners.ReadyTimeout),
		Target: d.Settings.Target, Offline: d.Offline, Local: d.env.Known.Local,
	}, observe)
}

// ensureImage returns the fleet's image. Offline, it makes no requests to GitHub and no build:
// anything that is missing is an error.
func (d deep) ensureImage(ctx context.Context, of lifecycle.Fleet) (lifecycle.Image, error) {
	if !d.Offline {
		return of.EnsureImage(ctx, d.Session, d.engine)
	}
	if image.NeedsGitHub(of.Settings) {
		return lifecycle.Image{}, hint.Add(errors.New("only GitHub knows which agent the image needs, and --offline asks nobody"), "leave out --offline, or name an archive in image.agent")
	}
	wanted, err := of.Source(d.Session, d.engine).Recipe(ctx)
	if err != nil {
		return lifecycle.Image{}, err
	}
	found, err := wanted.Find(ctx, d.engine)
	if err == nil && found.Missing != "" {
		err = &MissingError{found.Missing}
	}
	return lifecycle.Image{Tag: found.Tag, ID: found.ID}, err
}

// MissingError reports an image that the self-test needs, and may not make because it is
// offline.
type MissingError struct{ Image string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("the engine has no %s, and --offline makes none", e.Image)
}
