package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/spelling"
	"github.com/runnerctl/runnerctl/internal/ui"
	"github.com/runnerctl/runnerctl/internal/view"
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
	build     lifecycle.Build // for deep
	theme     ui.Theme
}

func doctorCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:      "doctor",
		Category:  "Prepare",
		Usage:     "check whether the engine's machine can run runners, and print fixes",
		ArgsUsage: "[ID…]",
		Description: "With an ID or a prefix of IDs (userns), only those checks run. Exits 1 if a required check fails.\n\nExamples:\n" +
			"   runnerctl doctor\n" +
			"   runnerctl doctor userns devices.tun\n" +
			"   runnerctl doctor --fix-script | sudo sh\n" +
			"   runnerctl doctor --image docker:dind-rootless\n" +
			"   runnerctl doctor --deep -o json",
		Flags: slices.Concat(flags.Config(), flags.GitHub(), flags.Build(), []cli.Flag{
			&cli.BoolFlag{Name: "list", Usage: "list the checks without running them", Category: "Checks"},
			&cli.StringSliceFlag{Name: "ignore", Usage: "report a failure of the check `ID` as a warning", EnvVars: []string{"RUNNERCTL_IGNORE"}, Category: "Checks"},
			&cli.BoolFlag{Name: "offline", Usage: "connect only to the engine's machine", EnvVars: []string{"RUNNERCTL_OFFLINE"}, Category: "Checks"},
			&cli.StringFlag{Name: "image", Usage: "check the image `NAME` (any image) instead of the machine", Category: "Checks"},
			&cli.BoolFlag{Name: "deep", Usage: "also start test runners, exercise the features that jobs need, and attempt to escape", Category: "Checks"},
			&cli.BoolFlag{Name: "fix-script", Usage: "print the automatic fixes as a shell script, for root on the engine's machine", Category: "Output"},
			flags.Output(), flags.Color()}),
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
			if options.json, err = flags.JSON(c); err != nil {
				return err
			}
			if options.theme, err = flags.Theme(c, s, s.Streams.OutTTY); err != nil {
				return err
			}
			if c.Bool("list") {
				return listChecks(s, options)
			}
			if options.config, err = flags.Settings(c); err != nil {
				return err
			}
			if c.Bool("deep") {
				if options.image != "" || options.fixScript {
					return &cmdline.UsageError{Command: "doctor", Problem: "--deep can't be combined with --image or --fix-script"}
				}
				options.deep = true
				if options.build, err = flags.BuildOptions(c); err != nil {
					return err
				}
			}
			return doctorEverywhere(c.Context, s, options)
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
	problem := fmt.Sprintf("unknown check %q (doctor --list lists all checks)", unknown)
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

func listChecks(s session.Session, options doctorOptions) error {
	var entries []checkEntry
	var rows [][]string
	for _, check := range options.checks {
		entries = append(entries, checkEntry{check.ID, check.Title, check.Group, check.Severity, check.Why})
		rows = append(rows, []string{check.ID, string(check.Severity), check.Title})
	}
	if options.json {
		return flags.WriteJSON(s.Streams.Out, entries)
	}
	ui.Table(s.Streams.Out, []string{"ID", "SEVERITY", "CHECK"}, rows)
	return nil
}

func runDoctor(ctx context.Context, s session.Session, options doctorOptions) error {
	engine, endpoint, err := s.Connect()
	var refusal *doctor.LocalRefusal
	var env doctor.Env
	switch {
	case errors.As(err, &refusal): // no engine is asked; the report explains why
		env.Known = doctor.Facts{Client: doctor.Client{OS: s.GOOS}, Endpoint: endpoint.Host, EngineErr: refusal}
	case err != nil:
		return err
	default:
		defer engine.Close()
		depth := facts.Everything
		if options.offline {
			depth = facts.Machine
		}
		env = s.Facts(engine, endpoint, options.config).Env(ctx, depth)
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
		view.WriteReport(s.Streams.Out, report, options.theme, env)
	}
	var deepErr error
	if options.deep {
		report.Deep, deepErr = goDeep(ctx, s, engine, env, options, report.Failed())
	}
	switch {
	case options.fixScript:
		report.Script(s.Streams.Out, view.MachineOf(env, "this machine"))
	case options.json:
		if err := flags.WriteJSON(s.Streams.Out, report); err != nil {
			return err
		}
	}
	if deepErr != nil {
		return deepErr
	}
	if report.Failed() && !options.fixScript {
		return session.ErrFailed
	}
	return nil
}

// goDeep prints each step as it ends, unless the output is JSON. If it returns an error, its
// result still holds everything found so far.
func goDeep(ctx context.Context, s session.Session, engine *dockerx.Engine, env doctor.Env, options doctorOptions, unfit bool) (*doctor.Deep, error) {
	observe := func(doctor.Step) {}
	if !options.json {
		style := view.DoctorStyle(s.Streams.Out, options.theme, env)
		fmt.Fprintln(s.Streams.Out, style.Bold("A real runner"))
		observe = func(step doctor.Step) { doctor.WriteStep(s.Streams.Out, step, style) }
	}
	if unfit {
		deep := doctor.NotTried("a required check failed")
		observe(deep.Steps[0])
		return &deep, nil
	}
	deep, err := selfTest(ctx, s, engine, env, options, observe)
	if err != nil {
		deep.Reason = err.Error()
	}
	return &deep, err
}

// selfTest makes sure that the image exists, then runs the self-test.
func selfTest(ctx context.Context, s session.Session, engine *dockerx.Engine, env doctor.Env, options doctorOptions, observe func(doctor.Step)) (doctor.Deep, error) {
	none := doctor.Deep{Steps: []doctor.Step{}, Attempts: []doctor.Attempt{}}
	own := lifecycle.Fleet{Settings: options.config, Build: options.build}
	var found lifecycle.Image
	var err error
	if options.offline {
		found, err = imageAtHand(ctx, s, engine, own)
	} else {
		found, err = own.EnsureImage(ctx, s, engine)
	}
	if err != nil {
		return none, err
	}
	spec, err := lifecycle.Host{Session: s, Fleet: own, Engine: engine, Env: env}.Spec(ctx, found)
	if err != nil {
		none.Image = found.Tag
		return none, err
	}
	return selftest.Run(ctx, engine, selftest.Options{
		Spec: spec, Ready: time.Duration(options.config.Runners.ReadyTimeout),
		Target: options.config.Target, Offline: options.offline, Local: env.Known.Local,
	}, observe)
}

// imageAtHand returns the fleet's image without requests to GitHub and without a build: anything
// that is missing is an error.
func imageAtHand(ctx context.Context, s session.Session, engine *dockerx.Engine, of lifecycle.Fleet) (lifecycle.Image, error) {
	if image.NeedsGitHub(of.Settings) {
		return lifecycle.Image{}, hint.Add(errors.New("only GitHub knows which agent the image needs, and --offline asks nobody"), "leave out --offline, or name an archive in image.agent")
	}
	wanted, err := of.Source(s, engine).Recipe(ctx)
	if err != nil {
		return lifecycle.Image{}, err
	}
	found, err := wanted.Find(ctx, engine)
	if err == nil && found.Missing != "" {
		err = hint.Add(fmt.Errorf("the engine has no %s, and --offline makes none", found.Missing), "runnerctl build")
	}
	return lifecycle.Image{Tag: found.Tag, ID: found.ID}, err
}
