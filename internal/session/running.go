package session

import (
	"context"
	"fmt"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// FindRunning is FindRunner for a command that needs a running runner. A runner in another
// state is a *NotRunningError.
func (s Session) FindRunning(ctx context.Context, name string) (*dockerx.Engine, fleet.Runner, error) {
	engine, runner, err := s.FindRunner(ctx, name)
	if err != nil {
		return nil, runner, err
	}
	if runner.State != fleet.Running {
		engine.Close()
		return nil, runner, &NotRunningError{Name: runner.Name, State: runner.State}
	}
	return engine, runner, nil
}

// NotRunningError reports that a runner is not running.
type NotRunningError struct {
	Name  string
	State fleet.State
}

func (e *NotRunningError) Error() string { return fmt.Sprintf("runner %s is %s", e.Name, e.State) }
