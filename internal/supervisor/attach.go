package supervisor

import (
	"context"
	"io"
	"time"

	"github.com/runnerctl/runnerctl/dockerx"
)

const (
	// attachPause is the time between the end of a supervisor and the check for another one.
	attachPause = 500 * time.Millisecond
	// attachMisses is how many checks in a row may find no supervisor: another up may be
	// replacing it.
	attachMisses = 10
)

// Attach writes the supervisor's log to out until ctx ends, which is no error, or until the
// supervisor is gone. before is the supervisor that existed earlier: its log lines are not shown
// again.
func (at Place) Attach(ctx context.Context, name string, before dockerx.SupervisorState, out io.Writer) error {
	for missed := 0; ctx.Err() == nil; {
		now, err := at.Engine.Supervisor(ctx, name)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			return err
		case !now.Running:
			if missed++; missed > attachMisses {
				return ErrEnded
			}
		case !now.Started.Equal(before.Started):
			err = at.Engine.SupervisorLog(ctx, name, dockerx.LogOptions{Follow: true, Tail: -1, Since: now.Started}, out)
		default:
			err = at.Engine.SupervisorLog(ctx, name, dockerx.LogOptions{Follow: true}, out)
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
	return nil
}
