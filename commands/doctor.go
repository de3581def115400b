package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/spelling"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type doctorOptions struct {
	config    config.Config
	checks    []doctor.Check
	ignored   []doctor.Check
	image     string // judged instead of the machine
	offline   bool
	fixScript bool
	json      bool
	deep      bool
	build     buildOptions // for deep
	theme     ui.Theme
}

func doctorCommand(d deps) verb {
	return verb{Command: &cli.Command{
		Name:      "doctor",
		Category:  "Prepare",
		Usage:     "tell whether this machine's engine can run runners, and what to do if not",
		ArgsUsage: "[ID…]",
		Description: "With an ID, or the beginning of some (userns), only those checks. Exits 1 if a required check fails.\n\nExamples:\n" +
			"   runnerctl doctor\n" +
			"   runnerctl doctor userns devices.tun\n" +
			"   runnerctl doctor --fix-script | sudo sh\n" +
			"   runnerctl doctor --image docker:dind-rootless\n" +
			"   runnerctl doctor --deep -o json",
		Flags: slices.Concat(configFlags(), githubFlags(), buildFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "list", Usage: "list the checks, run none", Category: "Checks"},
			&cli.StringSliceFlag{Name: "ignore", Usage: "take what the check `ID` finds for a warning", EnvVars: []string{"RUNNERCTL_IGNORE"}, Category: "Checks"},
			&cli.BoolFlag{Name: "offline", Usage: "ask nothing beyond the engine's machine", EnvVars: []string{"RUNNERCTL_OFFLINE"}, Category: "Checks"},
			&cli.StringFlag{Name: "image", Usage: "judge the image `NAME`, anybody's, in place of the machine", Category: "Checks"},
			&cli.BoolFlag{Name: "deep", Usage: "then start a real runner, let it show all that a job needs, and try to get out of it", Category: "Checks"},
			&cli.BoolFlag{Name: "fix-script", Usage: "print a shell script that mends what can be mended, for root on the engine's machine", Category: "Output"},
			outputFlag(), colorFlag()}),
		Action: func(c *cli.Context) error {
			options := doctorOptions{image: c.String("image"), offline: c.Bool("offline"), fixScript: c.Bool("fix-script")}
			catalogue := doctor.Catalogue()
			if c.IsSet("image") {
				catalogue = doctor.ImageCatalogue()
			}
			var err error
			if options.checks, err = checksNamed(catalogue, c.Args().Slice()); err != nil {
				return err
			}
			if len(options.checks) == 0 {
				options.checks = catalogue
			}
			if options.ignored, err = checksNamed(catalogue, c.StringSlice("ignore")); err != nil {
				return err
			}
			if options.json, err = wantJSON(c); err != nil {
				return err
			}
			if options.theme, err = theme(c, d, d.streams.OutTTY); err != nil {
				return err
			}
			if c.Bool("list") {
				return listChecks(d, options)
			}
			if options.config, err = settings(c); err != nil {
				return err
			}
			if c.Bool("deep") {
				if options.image != "" || options.fixScript {
					return &cmdline.UsageError{Command: "doctor", Problem: "--deep goes with neither --image nor --fix-script"}
				}
				options.deep = true
				if options.build, err = buildOptionsOf(c, options.config); err != nil {
					return err
				}
			}
			return doctorEverywhere(c.Context, d, options)
		},
	}}
}

// checksNamed selects checks by id, or by the beginning of their ids.
func checksNamed(catalogue []doctor.Check, words []string) ([]doctor.Check, error) {
	selected, unknown := doctor.Select(catalogue, words)
	if unknown == "" {
		return selected, nil
	}
	var ids []string
	for _, check := range catalogue {
		ids = append(ids, check.ID)
	}
	problem := fmt.Sprintf("unknown check %q (doctor --list names them)", unknown)
	if near := spelling.Nearest(unknown, ids); near != "" {
		problem += fmt.Sprintf(": did you mean %q?", near)
	}
	return nil, &cmdline.UsageError{Command: "doctor", Problem: problem}
}

// checkEntry is one entry of `doctor --list -o json`.
type checkEntry struct {
	ID       string          `json:"id"`
	Title    string          `json:"title"`
	Group    string          `json:"group"`
	Severity doctor.Severity `json:"severity"`
	Why      string          `json:"why"`
}

func listChecks(d deps, options doctorOptions) error {
	var entries []checkEntry
	var rows [][]string
	for _, check := range options.checks {
		entries = append(entries, checkEntry{check.ID, check.Title, check.Group, check.Severity, check.Why})
		rows = append(rows, []string{check.ID, string(check.Severity), check.Title})
	}
	if options.json {
		return writeJSON(d.streams.Out, entries)
	}
	ui.Table(d.streams.Out, []string{"ID", "SEVERITY", "WHAT"}, rows)
	return nil
}

func runDoctor(ctx context.Context, d deps, options doctorOptions) error {
	engine, endpoint, err := connect(d)
	var refusal *doctor.LocalRefusal
	var env doctor.Env
	switch {
	case errors.As(err, &refusal): // no engine is asked; the report explains why
		env.Known = doctor.Facts{Client: doctor.Client{OS: d.goos}, Endpoint: endpoint.Host, EngineErr: refusal}
	case err != nil:
		return err
	default:
		defer engine.Close()
		depth := facts.Everything
		if options.offline {
			depth = facts.Machine
		}
		env = d.facts(engine, endpoint, options.config).Env(ctx, depth)
	}
	if options.image != "" && env.Known.EngineErr == nil {
		bounded, cancel := context.WithTimeout(ctx, facts.EngineLimit)
		id, err := engine.ImageID(bounded, options.image)
		cancel()
		if err != nil {
			return err
		}
		if id == "" {
			return hint.Add(fmt.Errorf("the engine has no image %s", options.image), "docker pull "+options.image)
		}
		env.Image = facts.Image(engine, options.image, options.config.Name)
	}
	report := doctor.Run(ctx, options.checks, env, facts.CheckLimit(env)).Downgrade(options.ignored)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !options.json && !options.fixScript {
		writeReport(d.streams.Out, report, options.theme, env)
	}
	var deepErr error
	if options.deep {
		report.Deep, deepErr = goDeep(ctx, d, engine, env, options, report.Failed())
	}
	switch {
	case options.fixScript:
		report.Script(d.streams.Out, machineOf(env, "this machine"))
	case options.json:
		if err := writeJSON(d.streams.Out, report); err != nil {
			return err
		}
	}
	if deepErr != nil {
		return deepErr
	}
	if report.Failed() && !options.fixScript {
		return errFailed
	}
	return nil
}

// machineOf returns the name of the engine's machine, or here if it is this machine.
func machineOf(env doctor.Env, here string) string {
	known := env.Known
	switch {
	case known.Local, known.Engine.Name == "" && strings.HasPrefix(known.Endpoint, "unix://"):
		return here
	case known.Engine.Name != "":
		return known.Engine.Name
	}
	return known.Endpoint
}

// goDeep prints each step as it ends, unless the output is JSON. If it returns an error, its
// result still holds everything found so far.
func goDeep(ctx context.Context, d deps, engine *dockerx.Engine, env doctor.Env, options doctorOptions, unfit bool) (*doctor.Deep, error) {
	observe := func(doctor.Step) {}
	if !options.json {
		style := doctorStyle(d.streams.Out, options.theme, env)
		fmt.Fprintln(d.streams.Out, style.Bold("A real runner"))
		observe = func(step doctor.Step) { doctor.WriteStep(d.streams.Out, step, style) }
	}
	if unfit {
		deep := doctor.NotTried("a required check failed")
		observe(deep.Steps[0])
		return &deep, nil
	}
	deep, err := selfTest(ctx, d, engine, env, options, observe)
	if err != nil {
		deep.Reason = err.Error()
	}
	return &deep, err
}

// selfTest makes sure that the image exists, then runs the self-test.
func selfTest(ctx context.Context, d deps, engine *dockerx.Engine, env doctor.Env, options doctorOptions, observe func(doctor.Step)) (doctor.Deep, error) {
	none := doctor.Deep{Steps: []doctor.Step{}, Attempts: []doctor.Attempt{}}
	image := ensureImage
	if options.offline {
		image = imageAtHand
	}
	tag, id, _, err := image(ctx, d, engine, options.build)
	if err != nil {
		return none, err
	}
	spec, err := specOf(ctx, engine, options.config, tag, id, env)
	if err != nil {
		none.Image = tag
		return none, err
	}
	return selftest.Run(ctx, engine, selftest.Options{
		Spec: spec, Ready: time.Duration(options.config.Runners.ReadyTimeout),
		Target: options.config.Target, Offline: options.offline, Local: env.Known.Local,
	}, observe)
}

// imageAtHand is ensureImage without requests to GitHub or a build: anything that is missing
// is an error.
func imageAtHand(ctx context.Context, d deps, engine *dockerx.Engine, options buildOptions) (tag, id string, built bool, err error) {
	if image.NeedsGitHub(options.config) {
		return "", "", false, hint.Add(errors.New("only GitHub tells which agent the image is to hold, and --offline asks nobody"), "leave out --offline, or name an archive in image.agent")
	}
	wanted, err := imageSource(d, engine, options.config).Recipe(ctx)
	if err != nil {
		return "", "", false, err
	}
	found, err := wanted.Find(ctx, engine)
	if err == nil && found.Missing != "" {
		err = hint.Add(fmt.Errorf("the engine has no %s, and --offline makes none", found.Missing), "runnerctl build")
	}
	return found.Tag, found.ID, false, err
}

// unfit prints the checks and returns the error that keeps a command from starting. If no
// engine answers, the other checks have nothing to show.
func unfit(d deps, checks doctor.Report, theme ui.Theme, env doctor.Env) error {
	if known := env.Known; known.EngineErr != nil {
		return fmt.Errorf("no engine: %w", known.EngineErr)
	}
	writeReport(d.streams.Err, checks, theme, env)
	return errFailed
}

// writeReport prints the checks at the width of w.
func writeReport(w io.Writer, report doctor.Report, theme ui.Theme, env doctor.Env) {
	doctor.WriteText(w, report, doctorStyle(w, theme, env))
}

func doctorStyle(w io.Writer, theme ui.Theme, env doctor.Env) doctor.Style {
	columns := ui.Columns(w)
	return doctor.Style{
		OK: theme.OK, Fail: theme.Fail, Warn: theme.Warn, Dim: theme.Dim, Bold: theme.Bold,
		Narrow: columns > 0 && columns < ui.Narrow, Machine: machineOf(env, ""),
	}
}
