package status

import (
	"context"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Inspect finds a runner on any host. It returns the runner's details, or the record of a
// runner that is gone.
func Inspect(ctx context.Context, s session.Session, name string) (fleet.Details, *fleet.Record, error) {
	engine, runner, record, err := s.FindRunnerOrRecord(ctx, name)
	if err != nil {
		return fleet.Details{}, nil, session.Interrupted(ctx, err)
	}
	defer engine.Close()
	if record != nil {
		return fleet.Details{}, record, nil
	}
	details, err := engine.Details(ctx, runner)
	if err != nil {
		// It may have been removed since it was found.
		if _, record, _ = session.RunnerOrRecord(ctx, engine, name); record != nil {
			return fleet.Details{}, record, nil
		}
		return fleet.Details{}, nil, session.Interrupted(ctx, err)
	}
	return details, nil, nil
}
