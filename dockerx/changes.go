package dockerx

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// Changes reports the changes of the fleet's runners from now on. The channel is closed when
// ctx ends or the engine's stream breaks.
func (e *Engine) Changes(ctx context.Context, fleetName string) (<-chan fleet.Change, error) {
	selected := members(fleetName)
	for _, kind := range []fleet.ChangeKind{fleet.Died, fleet.OutOfMem, fleet.Begun, fleet.Destroyed, fleet.Suspended, fleet.Resumed} {
		selected.Add("event", string(kind))
	}
	changes, err := listen(ctx, e, selected, func(message events.Message) fleet.Change {
		return fleet.Change{Runner: message.Actor.Attributes["name"], Kind: fleet.ChangeKind(message.Action)}
	})
	if err != nil {
		return nil, fmt.Errorf("events of fleet %s: %w", fleetName, err)
	}
	return changes, nil
}

// Reloads reports each Reload, which notifies a fleet's supervisor, in either form, that its
// desired state has changed. The channel is closed like that of Changes.
func (e *Engine) Reloads(ctx context.Context, fleetName string) (<-chan struct{}, error) {
	selected := filters.NewArgs(filters.Arg("container", supervisorName(fleetName)), filters.Arg("event", string(events.ActionAttach)))
	reloads, err := listen(ctx, e, selected, func(events.Message) struct{} { return struct{}{} })
	if err != nil {
		return nil, fmt.Errorf("events of the supervisor of fleet %s: %w", fleetName, err)
	}
	return reloads, nil
}

// listen opens a stream of the engine's events.
func listen[T any](ctx context.Context, e *Engine, selected filters.Args, read func(events.Message) T) (<-chan T, error) {
	selected.Add("type", string(events.ContainerEventType))
	// The engine answers before it listens; with Since, it sends the events in between too.
	since, err := e.now(ctx)
	if err != nil {
		return nil, err
	}
	messages, failed := e.api.Events(ctx, events.ListOptions{Since: since.Format(time.RFC3339Nano), Filters: selected})
	changes := make(chan T, 16)
	go func() {
		defer close(changes)
		for {
			select {
			case <-failed: //nolint:errcheck // ctx ended, or the stream did: the caller subscribes again
				return
			case message := <-messages:
				select {
				case <-ctx.Done():
					return
				case changes <- read(message):
				}
			}
		}
	}()
	return changes, nil
}
