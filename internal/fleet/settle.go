package fleet

import (
	"context"
	"time"
)

const (
	// settleLimit is how long a runner may stay silent before it counts as not answering: a
	// job may have just restarted its daemon.
	settleLimit = 10 * time.Second
	settlePause = 500 * time.Millisecond
)

// Looker inspects a runner from inside.
type Looker interface {
	Look(ctx context.Context, runner Runner) Runner
}

// Settle looks again at runners that do not answer, until all answer or settleLimit has
// passed.
func Settle(ctx context.Context, engine Looker, runners []Runner) {
	bounded, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for {
		silent := 0
		for i := range runners {
			if runners[i].Problem == "" || runners[i].State != Running {
				continue
			}
			looked := engine.Look(bounded, runners[i])
			if bounded.Err() != nil {
				return
			}
			if runners[i] = looked; looked.Problem != "" {
				silent++
			}
		}
		if silent == 0 {
			return
		}
		sleep(bounded, settlePause)
	}
}
