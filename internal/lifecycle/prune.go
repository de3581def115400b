package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/image"
	"github.com/runnerctl/runnerctl/internal/prune"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// Prune are the options of prune.
type Prune struct {
	Settings   config.Config
	DryRun     bool
	Sure       bool // don't ask for confirmation
	ImagesOnly bool
	Kept       bool // also remove runners left by run --keep
	Theme      ui.Theme
}

// Run prints a plan of the objects on the session's host that nobody needs, and removes them.
func (o Prune) Run(ctx context.Context, s session.Session) error {
	engine, _, err := s.Connect()
	if err != nil {
		return err
	}
	defer engine.Close()
	plan, err := o.plan(ctx, s, engine)
	if err != nil {
		return err
	}
	out := s.Streams.Err
	if o.DryRun {
		out = s.Streams.Out
	}
	var lines strings.Builder
	plan.Write(&lines, ui.Bytes)
	ui.Folded(out, lines.String())
	if len(plan.Removals) == 0 {
		fmt.Fprintln(s.Streams.Err, "nothing to remove")
		return nil
	}
	if o.DryRun {
		fmt.Fprintf(s.Streams.Err, "would reclaim %s\n", ui.Bytes(plan.Size()))
		return nil
	}
	if !o.Sure {
		sure, err := s.Prompt.Confirm(fmt.Sprintf("Remove these %d objects (%s)?", len(plan.Removals), ui.Bytes(plan.Size())), false)
		if err != nil || !sure {
			return err
		}
	}
	reclaimed, err := o.carryOut(ctx, s, engine, plan)
	fmt.Fprintf(s.Streams.Err, "reclaimed %s\n", ui.Bytes(reclaimed))
	return session.Interrupted(ctx, err)
}

// plan returns the removals that the options select.
func (o Prune) plan(ctx context.Context, s session.Session, engine *dockerx.Engine) (prune.Plan, error) {
	inventory, err := engine.Inventory(ctx, true)
	if err != nil {
		return prune.Plan{}, session.Interrupted(ctx, err)
	}
	current, err := Fleet{Settings: o.Settings}.FindImage(ctx, s, engine)
	var unoffered *image.UnofferedError
	if errors.As(err, &unoffered) {
		fmt.Fprintf(s.Streams.Err, "GitHub did not report its newest agent, so the newest runner image is kept: %s\n", hint.FirstLine(err))
	} else if err != nil {
		return prune.Plan{}, err
	}
	return prune.NewPlan(inventory, prune.Options{ImagesOnly: o.ImagesOnly, Kept: o.Kept, Current: current.ID, Repository: image.Repository}), nil
}

// carryOut makes the removals one by one, and holds a fleet's lock for the fleet's own objects.
// If a removal fails, the object stays and the others are still removed.
func (o Prune) carryOut(ctx context.Context, s session.Session, engine *dockerx.Engine, plan prune.Plan) (reclaimed int64, err error) {
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
				if unlock, err = Lock(ctx, s, engine, one.Fleet, image); err != nil {
					failures = append(failures, err)
					continue
				}
				locked = one.Fleet
			}
		}
		if err := engine.Prune(context.WithoutCancel(ctx), one); err != nil {
			fmt.Fprintf(s.Streams.Err, "%s %s %s\n", o.Theme.Cross(), one.Kind, one.Name)
			failures = append(failures, err)
			continue
		}
		fmt.Fprintf(s.Streams.Err, "%s %s %s\n", o.Theme.Check(), one.Kind, one.Name)
		reclaimed += one.Size
	}
	return reclaimed, errors.Join(failures...)
}
