package commands

import (
	"context"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/ui"
)

const (
	// attachPause is the time between the end of a supervisor and the check for another one.
	attachPause = 500 * time.Millisecond
	// attachMisses is how many checks in a row may find no supervisor: another up may be
	// replacing it.
	attachMisses = 10
)

// attach shows the supervisor's log until the supervisor is gone, or until Ctrl-C, which stops
// the fleet. before is the supervisor that existed earlier: its log lines are not shown again.
func (h host) attach(ctx context.Context, d deps, options upOptions, before dockerx.SupervisorState) error {
	name := options.config.Name
	for missed := 0; ctx.Err() == nil; {
		now, err := h.engine.Supervisor(ctx, name)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			return err
		case !now.Running:
			if missed++; missed > attachMisses {
				return errTakenAway
			}
		case !now.Started.Equal(before.Started):
			err = h.engine.SupervisorLog(ctx, name, dockerx.LogOptions{Follow: true, Tail: -1, Since: now.Started}, d.streams.Out)
		default:
			err = h.engine.SupervisorLog(ctx, name, dockerx.LogOptions{Follow: true}, d.streams.Out)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if now.Running {
			before, missed = now, 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(attachPause): // the engine may start it again
		}
	}
	return h.stop(ctx, d, options)
}

// stop ends an attached fleet in the same way as down. The caller does not print the errors of
// an interrupted command, so stop prints them.
func (h host) stop(ctx context.Context, d deps, options upOptions) error {
	down := downOptions{config: options.config, fleet: options.config.Name, wait: jobsWait, theme: options.theme}
	err := runDown(context.WithoutCancel(ctx), d, down)
	for _, one := range flatten(err) {
		if one != nil {
			ui.Error(d.streams.Err, options.theme, advised(one))
		}
	}
	return context.Cause(ctx)
}
