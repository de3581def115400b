// Package checkup runs doctor: the checks of the engine's machine or of an image, the self-test
// with real runners, and the reports of several hosts. The checks themselves are in
// internal/doctor. It may import dockerx and internal/{config,doctor,facts,hint,image,lifecycle,
// selftest,session,ui,view}.
package checkup

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
)

// Options are the options of doctor.
type Options struct {
	Settings  config.Config
	Checks    []doctor.Check
	Ignored   []doctor.Check // their failures are warnings
	Image     string         // checked instead of the machine
	Offline   bool
	FixScript bool // print only the script of the fixes
	JSON      bool
	Deep      bool
	Build     lifecycle.Build // for Deep
	Theme     ui.Theme
}

// List prints the checks without running them.
func (o Options) List(s session.Session) error {
	var entries []entry
	var rows [][]string
	for _, check := range o.Checks {
		entries = append(entries, entry{check.ID, check.Title, check.Group, check.Severity, check.Why})
		rows = append(rows, []string{check.ID, string(check.Severity), check.Title})
	}
	if o.JSON {
		return ui.WriteJSON(s.Streams.Out, entries)
	}
	ui.Table(s.Streams.Out, []string{"ID", "SEVERITY", "CHECK"}, rows)
	return nil
}

// entry is one entry of `doctor --list -o json`.
type entry struct {
	ID       string          `json:"id"`
	Title    string          `json:"title"`
	Group    string          `json:"group"`
	Severity doctor.Severity `json:"severity"`
	Why      string          `json:"why"`
}

// Run checks the session's host and prints the report. It returns session.ErrFailed if a
// required check failed.
func (o Options) Run(ctx context.Context, s session.Session) error {
	engine, env, err := o.connect(ctx, s)
	if err != nil {
		return err
	}
	if engine != nil {
		defer engine.Close()
	}
	if o.Image != "" && env.Known.EngineErr == nil {
		if err := o.addImage(ctx, engine, &env); err != nil {
			return err
		}
	}
	report := doctor.Run(ctx, o.Checks, env, facts.CheckLimit(env)).Downgrade(o.Ignored)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !o.JSON && !o.FixScript {
		view.WriteReport(s.Streams.Out, report, o.Theme, env)
	}
	var deepErr error
	if o.Deep {
		report.Deep, deepErr = deep{s, o, engine, env}.run(ctx, report.Failed())
	}
	switch {
	case o.FixScript:
		report.Script(s.Streams.Out, view.MachineOf(env, "this machine"))
	case o.JSON:
		if err := ui.WriteJSON(s.Streams.Out, report); err != nil {
			return err
		}
	}
	if deepErr != nil {
		return deepErr
	}
	if report.Failed() && !o.FixScript {
		return session.ErrFailed
	}
	return nil
}

// connect opens the engine and prepares the sources of facts. The engine is nil if this client
// must not use it; the report explains why.
func (o Options) connect(ctx context.Context, s session.Session) (*dockerx.Engine, doctor.Env, error) {
	engine, endpoint, err := s.Connect()
	var refusal *doctor.LocalRefusal
	switch {
	case errors.As(err, &refusal):
		return nil, doctor.Env{Known: doctor.Facts{Client: doctor.Client{OS: s.GOOS}, Endpoint: endpoint.Host, EngineErr: refusal}}, nil
	case err != nil:
		return nil, doctor.Env{}, err
	}
	depth := facts.Everything
	if o.Offline {
		depth = facts.Machine
	}
	return engine, s.Facts(engine, endpoint, o.Settings).Env(ctx, depth), nil
}

// addImage makes the image a source of facts.
func (o Options) addImage(ctx context.Context, engine *dockerx.Engine, env *doctor.Env) error {
	bounded, cancel := context.WithTimeout(ctx, facts.EngineLimit)
	defer cancel()
	id, err := engine.ImageID(bounded, o.Image)
	if err != nil {
		return err
	}
	if id == "" {
		return hint.Add(fmt.Errorf("the engine has no image %s", o.Image), "docker pull "+o.Image)
	}
	env.Image = facts.Image(engine, o.Image, o.Settings.Name)
	return nil
}
