package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Target is a target that runners can be registered with.
type Target struct {
	Client *ghapi.Client
	Group  ghapi.Group
	Mode   fleet.AgentMode
	reach  ghapi.Options
}

// Target checks, before anything is made, whether runners can be registered as the settings
// ask. It returns nil if the settings name no target.
func (o Opener) Target(ctx context.Context, loaded config.Config, allowPublic bool) (*Target, error) {
	if loaded.Target == "" {
		return nil, nil
	}
	client, err := o.Client(ctx, loaded, loaded.Target)
	if err != nil {
		return nil, err
	}
	found := &Target{Client: client, Mode: fleet.Token}
	if found.reach, err = o.Reach(loaded); err != nil {
		return nil, err
	}
	// This is the cheapest request that GitHub answers only to callers that may register
	// runners.
	if _, err := client.RunnerByName(ctx, loaded.Name); err != nil {
		return nil, err
	}
	if found.Group, err = client.GroupByName(ctx, loaded.Runners.Group); err != nil {
		return nil, err
	}
	public, err := client.Public(ctx, found.Group)
	if err != nil {
		return nil, err
	}
	if public && !allowPublic {
		return nil, &PublicError{target: client.Target(), group: found.Group.Name}
	}
	jit, err := client.HasJIT(ctx)
	if jit && loaded.Runners.Ephemeral {
		found.Mode = fleet.JIT
	}
	return found, err
}

// Agent returns how the fleet's runners are registered. marker is the fleet's own label.
func (t *Target) Agent(loaded config.Config, marker string) fleet.Agent {
	labels := append(slices.Clone(loaded.Runners.Labels), marker)
	slices.Sort(labels)
	return fleet.Agent{Mode: t.Mode, URL: t.Client.Target().URL(), Labels: slices.Compact(labels), Group: t.Group.Name, Ephemeral: loaded.Runners.Ephemeral}
}

// maxClockError is how far an agent's clock may differ from GitHub's before GitHub refuses it.
const maxClockError = 5 * time.Minute

// CheckClock compares an engine's clock, which read now a moment ago, with GitHub's.
func (t *Target) CheckClock(ctx context.Context, now time.Time) error {
	skew, err := ghapi.Skew(ctx, t.Client.Target(), t.reach)
	if err != nil {
		return ctx.Err() // a single request; a lost answer is no reason to stop
	}
	if off := time.Until(now) - skew; !now.IsZero() && off.Abs() > maxClockError {
		return &ClockError{off}
	}
	return nil
}

// ClockError reports an engine's clock that differs too much from GitHub's.
type ClockError struct {
	Ahead time.Duration // ahead of GitHub's clock; negative if behind
}

func (e *ClockError) Error() string {
	side := "ahead of"
	if e.Ahead < 0 {
		side = "behind"
	}
	return fmt.Sprintf("the engine's clock is %s %s GitHub's", e.Ahead.Abs().Round(time.Second), side)
}

// Hint returns advice for the user.
func (e *ClockError) Hint() string {
	return "GitHub rejects agents with a wrong clock: set the clock of the engine's machine (timedatectl set-ntp true)"
}

func (t *Target) String() string {
	life := "runners stay"
	if t.Mode == fleet.JIT {
		life = "one job each"
	}
	return fmt.Sprintf("%s · %s", strings.TrimPrefix(t.Client.Target().URL(), "https://"), life)
}

// PublicError reports a target that strangers can send jobs to.
type PublicError struct {
	target ghapi.Target
	group  string
}

func (e *PublicError) Error() string {
	if e.target.Kind == ghapi.Repo {
		return fmt.Sprintf("%s is public", e.target)
	}
	return fmt.Sprintf("runner group %s of %s may be used by public repositories", e.group, e.target)
}

// Cause is GitHub's own reason.
func (e *PublicError) Cause() string {
	return `GitHub: "We recommend that you only use self-hosted runners with private repositories. This is because forks of your public repository can potentially run dangerous code on your self-hosted runner machine by creating a pull request that executes the code in a workflow."`
}

// Hint returns advice for the user.
func (e *PublicError) Hint() string {
	return "--allow-public-repo accepts the risk; require approval for the workflows of all outside contributors first (Settings, Actions, General)"
}
