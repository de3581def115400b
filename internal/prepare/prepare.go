// Package prepare turns a machine into a host: over ssh, or with the text that cloud-init runs at
// a machine's first boot. It may import dockerx, internal/{config,doctor,facts,session,ui,view}
// and scripts.
package prepare

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
)

// Options are the options of host prepare.
type Options struct {
	Settings      config.Config
	DryRun        bool // print the plan only
	Yes           bool // don't ask
	AllowMetadata bool // let containers reach the cloud's metadata service
	Theme         ui.Theme
}

// Run turns the session's host, a machine behind ssh, into a host. It shows the changes of the
// script, asks, and makes them, and then does the same with doctor's fixes.
func (o Options) Run(ctx context.Context, s session.Session) error {
	endpoint, err := s.Endpoint()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(endpoint.Host, "ssh://") {
		return &session.UsageError{Problem: fmt.Sprintf("host prepare %s: only ssh:// hosts are supported (for this machine, run scripts/host/prepare)", s.Host)}
	}
	script, err := Script()
	if err != nil {
		return err
	}
	args := []string{}
	if o.AllowMetadata {
		args = append(args, "--allow-metadata")
	}
	if user, _, found := strings.Cut(strings.TrimPrefix(endpoint.Host, "ssh://"), "@"); found {
		args = append(args, "--user", user)
	}
	var plan bytes.Buffer
	if err := dockerx.RunAsRoot(ctx, endpoint, script, &plan, append([]string{"--plan"}, args...)...); err != nil {
		return err
	}
	for line := range strings.Lines(plan.String()) {
		fmt.Fprintf(s.Streams.Err, "will %s\n", ui.Plain(strings.TrimSuffix(line, "\n")))
	}
	switch {
	case plan.Len() == 0:
		fmt.Fprintf(s.Streams.Err, "%s is already prepared\n", endpoint.Name)
	case o.DryRun:
		return nil
	default:
		if err := o.confirm(s, "Apply this plan on "+endpoint.Name+"?"); err != nil {
			return err
		}
		show := session.Indented(s.Streams.Err, "       ")
		if err := dockerx.RunAsRoot(ctx, endpoint, script, show, append([]string{"--apply"}, args...)...); err != nil {
			return err
		}
	}
	return o.mend(ctx, s, endpoint)
}

// confirm asks for confirmation, unless it was given. Enter means No.
func (o Options) confirm(s session.Session, question string) error {
	if o.Yes {
		return nil
	}
	if !s.Asks() {
		return &session.UsageError{Problem: "no terminal for the confirmation: use --yes, or --dry-run to see the plan"}
	}
	yes, err := s.Prompt.Confirm(question, false)
	if err == nil && !yes {
		return session.ErrFailed
	}
	return err
}

// mend runs doctor on the machine, then doctor's fixes, then doctor again.
func (o Options) mend(ctx context.Context, s session.Session, endpoint dockerx.Endpoint) error {
	report, env, err := o.examine(ctx, s)
	if err != nil {
		return err
	}
	var fixes bytes.Buffer
	report.Script(&fixes, view.MachineOf(env, endpoint.Name))
	if commands := report.Commands(); len(commands) > 0 {
		for _, line := range commands {
			fmt.Fprintf(s.Streams.Err, "will run %s\n", line)
		}
		if o.DryRun {
			return nil
		}
		if err := o.confirm(s, "Apply these fixes on "+endpoint.Name+"?"); err != nil {
			return err
		}
		if err := dockerx.RunAsRoot(ctx, endpoint, fixes.String(), s.Streams.Err); err != nil {
			return err
		}
		if report, env, err = o.examine(ctx, s); err != nil {
			return err
		}
	}
	view.WriteReport(s.Streams.Out, report, o.Theme, env)
	if report.Failed() {
		return session.ErrFailed
	}
	return nil
}

func (o Options) examine(ctx context.Context, s session.Session) (doctor.Report, doctor.Env, error) {
	engine, endpoint, err := s.Connect()
	if err != nil {
		return doctor.Report{}, doctor.Env{}, err
	}
	defer engine.Close()
	env := s.Facts(engine, endpoint, o.Settings).Env(ctx, facts.Everything)
	report := doctor.Run(ctx, doctor.Catalogue(), env, facts.CheckLimit(env))
	return report, env, ctx.Err()
}
