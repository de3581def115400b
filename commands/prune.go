package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/prune"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

type pruneOptions struct {
	config config.Config
	dryRun bool
	yes    bool
	images bool // images only
	kept   bool
	theme  ui.Theme
}

func pruneCommand(s session.Session) verb {
	return verb{Command: &cli.Command{
		Name:     "prune",
		Category: "Clean up",
		Usage:    "remove unused images, volumes and containers of all fleets",
		Description: "Removes runners of fleets without a running runner, volumes without a runner, runners of a killed run,\n" +
			"stale locks, and runner images that neither a container nor up needs. Objects without runnerctl's label are never touched.\n\nExamples:\n" +
			"   runnerctl prune --dry-run\n" +
			"   runnerctl prune --images --yes",
		Flags: []cli.Flag{
			flags.ConfigFile(),
			&cli.BoolFlag{Name: "dry-run", Usage: "print the plan only", Category: "Plan"},
			&cli.BoolFlag{Name: "images", Usage: "remove only images", Category: "Plan"},
			&cli.BoolFlag{Name: "kept", Usage: "also remove runners that run --keep left", Category: "Plan"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "don't ask for confirmation", Category: "Plan"},
			flags.Color(),
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.NoArguments(c); err != nil {
				return err
			}
			loaded, err := flags.Settings(c)
			if err != nil {
				return err
			}
			options := pruneOptions{config: loaded, dryRun: c.Bool("dry-run"), yes: c.Bool("yes"), images: c.Bool("images"), kept: c.Bool("kept")}
			if !options.dryRun && !options.yes && !s.Asks() {
				return &cmdline.UsageError{Command: "prune", Problem: "no terminal for the confirmation: use --yes, or --dry-run to see the plan"}
			}
			if options.theme, err = flags.Theme(c, s, s.Streams.ErrTTY); err != nil {
				return err
			}
			return runPrune(c.Context, s, options)
		},
	}}
}

func runPrune(ctx context.Context, s session.Session, options pruneOptions) error {
	engine, _, err := s.Connect()
	if err != nil {
		return err
	}
	defer engine.Close()
	inventory, err := engine.Inventory(ctx, true)
	if err != nil {
		return session.Interrupted(ctx, err)
	}
	current, err := lifecycle.Fleet{Settings: options.config}.FindImage(ctx, s, engine)
	var unoffered *image.UnofferedError
	if errors.As(err, &unoffered) {
		fmt.Fprintf(s.Streams.Err, "GitHub did not report its newest agent, so the newest runner image is kept: %s\n", hint.FirstLine(err))
	} else if err != nil {
		return err
	}
	plan := prune.NewPlan(inventory, prune.Options{ImagesOnly: options.images, Kept: options.kept, Current: current.ID, Repository: image.Repository})
	out := s.Streams.Err
	if options.dryRun {
		out = s.Streams.Out
	}
	var lines strings.Builder
	plan.Write(&lines, ui.Bytes)
	ui.Folded(out, lines.String())
	if len(plan.Removals) == 0 {
		fmt.Fprintln(s.Streams.Err, "nothing to remove")
		return nil
	}
	if options.dryRun {
		fmt.Fprintf(s.Streams.Err, "would reclaim %s\n", ui.Bytes(plan.Size()))
		return nil
	}
	if !options.yes {
		sure, err := confirm(s, fmt.Sprintf("Remove these %d objects (%s)?", len(plan.Removals), ui.Bytes(plan.Size())))
		if err != nil || !sure {
			return err
		}
	}
	reclaimed, err := carryOutPrune(ctx, s, engine, plan, options.theme)
	fmt.Fprintf(s.Streams.Err, "reclaimed %s\n", ui.Bytes(reclaimed))
	return session.Interrupted(ctx, err)
}

// confirm asks a question. Enter means No, and Ctrl-C ends the program.
func confirm(s session.Session, question string) (bool, error) {
	yes, err := s.Prompt.Confirm(question, false)
	if errors.Is(err, ui.ErrInterrupted) {
		err = exitCode(exitInterrupted)
	}
	return yes, err
}

// carryOutPrune makes the removals one by one, and holds a fleet's lock for the fleet's own
// objects. If a removal fails, the object stays and the others are still removed.
func carryOutPrune(ctx context.Context, s session.Session, engine *dockerx.Engine, plan prune.Plan, theme ui.Theme) (reclaimed int64, err error) {
	image, err := engine.AnyImage(ctx) // without one, neither a runner nor the lock's container can be made
	if err != nil {
		return 0, err
	}
	var failures []error
	var unlock func()
	locked := ""
	free := func() {
		if unlock != nil {
			unlock()
		}
		unlock, locked = nil, ""
	}
	defer free()
	for _, one := range plan.Removals {
		if ctx.Err() != nil {
			break
		}
		if one.Fleet != locked {
			free()
			if one.Fleet != "" && image != "" {
				if unlock, err = lifecycle.Lock(ctx, s, engine, one.Fleet, image); err != nil {
					failures = append(failures, err)
					continue
				}
				locked = one.Fleet
			}
		}
		if err := engine.Prune(context.WithoutCancel(ctx), one); err != nil {
			fmt.Fprintf(s.Streams.Err, "%s %s %s\n", theme.Cross(), one.Kind, one.Name)
			failures = append(failures, err)
			continue
		}
		fmt.Fprintf(s.Streams.Err, "%s %s %s\n", theme.Check(), one.Kind, one.Name)
		reclaimed += one.Size
	}
	return reclaimed, errors.Join(failures...)
}
