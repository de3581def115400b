package commands

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
	"github.com/runnerctl/runnerctl/scripts"
)

type prepareOptions struct {
	config        config.Config
	dryRun, yes   bool
	allowMetadata bool
	theme         ui.Theme
}

// prepareScript returns scripts/host/prepare, with the files that it needs, as one script.
func prepareScript() (string, error) {
	var text strings.Builder
	text.WriteString("#!/bin/sh\n# runnerctl: sets up this machine as a host.\nset -eu\nFILES=$(mktemp -d)\nexport FILES\ntrap 'rm -rf \"$FILES\"' EXIT\n")
	err := fs.WalkDir(scripts.Host, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := scripts.Host.ReadFile(name)
		fmt.Fprintf(&text, "cat >\"$FILES/%s\" <<'END-OF-FILE'\n%sEND-OF-FILE\n", path.Base(name), content)
		return err
	})
	text.WriteString("sh \"$FILES/prepare\" \"$@\"\n")
	return text.String(), err
}

// writeCloudInit prints the same script as user-data, which cloud-init runs once, as root, at
// the first boot.
func writeCloudInit(w io.Writer, allowMetadata bool) error {
	script, err := prepareScript()
	if err != nil {
		return err
	}
	args := `--apply --user "$(id -nu 1000 2>/dev/null || echo root)"`
	if allowMetadata {
		args += " --allow-metadata"
	}
	_, err = io.WriteString(w, strings.Replace(script, `sh "$FILES/prepare" "$@"`, `sh "$FILES/prepare" `+args, 1))
	return err
}

// runPrepare turns a machine behind ssh into a host. It shows the changes of the script, asks,
// and makes them, and then does the same with doctor's fixes.
func runPrepare(ctx context.Context, s session.Session, address string, options prepareOptions) error {
	s.Host = address
	endpoint, err := s.Endpoint()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(endpoint.Host, "ssh://") {
		return &cmdline.UsageError{Command: "host", Problem: fmt.Sprintf("host prepare %s: only ssh:// hosts are supported (for this machine, run scripts/host/prepare)", address)}
	}
	script, err := prepareScript()
	if err != nil {
		return err
	}
	args := []string{}
	if options.allowMetadata {
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
	case options.dryRun:
		return nil
	default:
		if err := sure(s, options, "Apply this plan on "+endpoint.Name+"?"); err != nil {
			return err
		}
		show := session.Indented(s.Streams.Err, "       ")
		if err := dockerx.RunAsRoot(ctx, endpoint, script, show, append([]string{"--apply"}, args...)...); err != nil {
			return err
		}
	}
	return mend(ctx, s, endpoint, options)
}

// sure asks for confirmation, unless --yes is set.
func sure(s session.Session, options prepareOptions, question string) error {
	if options.yes {
		return nil
	}
	if !s.Asks() {
		return &cmdline.UsageError{Command: "host", Problem: "no terminal for the confirmation: use --yes, or --dry-run to see the plan"}
	}
	yes, err := s.Prompt.Confirm(question, false)
	if err == nil && !yes {
		return session.ErrFailed
	}
	return err
}

// mend runs doctor on the machine, then doctor's fixes, then doctor again.
func mend(ctx context.Context, s session.Session, endpoint dockerx.Endpoint, options prepareOptions) error {
	report, env, err := examine(ctx, s, options.config)
	if err != nil {
		return err
	}
	var fixes bytes.Buffer
	report.Script(&fixes, view.MachineOf(env, endpoint.Name))
	if commands := report.Commands(); len(commands) > 0 {
		for _, line := range commands {
			fmt.Fprintf(s.Streams.Err, "will run %s\n", line)
		}
		if options.dryRun {
			return nil
		}
		if err := sure(s, options, "Apply these fixes on "+endpoint.Name+"?"); err != nil {
			return err
		}
		if err := dockerx.RunAsRoot(ctx, endpoint, fixes.String(), s.Streams.Err); err != nil {
			return err
		}
		if report, env, err = examine(ctx, s, options.config); err != nil {
			return err
		}
	}
	view.WriteReport(s.Streams.Out, report, options.theme, env)
	if report.Failed() {
		return session.ErrFailed
	}
	return nil
}

func examine(ctx context.Context, s session.Session, wanted config.Config) (doctor.Report, doctor.Env, error) {
	engine, endpoint, err := s.Connect()
	if err != nil {
		return doctor.Report{}, doctor.Env{}, err
	}
	defer engine.Close()
	env := s.Facts(engine, endpoint, wanted).Env(ctx, facts.Everything)
	report := doctor.Run(ctx, doctor.Catalogue(), env, facts.CheckLimit(env))
	return report, env, ctx.Err()
}
