package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

var tiny = amounts{pairs1: 1, pairs20: 1, crowd: 2, netRounds: 1, netSeconds: 1, idleRounds: 1, idleCount: 2, idleSettle: 3 * time.Second, idleWatch: 2 * time.Second, firsts: 1, runs: 1, builds: 1, execs: 1, limit: 10 * time.Minute}

// labelled counts the objects on the engine that a bench left behind.
func labelled(t *testing.T, api *client.Client) int {
	t.Helper()
	ctx, args := context.Background(), filters.NewArgs(filters.Arg("label", runLabel))
	containers, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: args})
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := api.VolumeList(ctx, volume.ListOptions{Filters: args})
	if err != nil {
		t.Fatal(err)
	}
	images, err := api.ImageList(ctx, image.ListOptions{Filters: args})
	if err != nil {
		t.Fatal(err)
	}
	return len(containers) + len(volumes.Volumes) + len(images)
}

func engine(t *testing.T) *client.Client {
	t.Helper()
	t.Chdir("..") // for bin/runnerctl
	return enginetest.Own(t)
}

// The bench is interrupted after a number of seconds (short_test.go, long_test.go).
func TestInterruptedBenchLeavesNothing(t *testing.T) {
	api := engine(t)
	before := labelled(t, api)
	for _, after := range interruptions {
		ctx, cancel := context.WithTimeoutCause(t.Context(), after*time.Second, errInterrupted)
		if _, err := benchmark(ctx, tiny, true, t.Logf); !errors.Is(err, errInterrupted) {
			t.Errorf("after %d s: %v", after, err)
		}
		cancel()
		if left := labelled(t, api); left != before {
			t.Errorf("%d objects before, %d after", before, left)
		}
	}
}
