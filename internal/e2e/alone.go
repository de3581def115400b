//go:build linux

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// StartAlone starts a container without runnerctl and removes it at the end of the test.
func StartAlone(t *testing.T, api *client.Client, config *container.Config, host *container.HostConfig) (id string) {
	t.Helper()
	made, err := api.ContainerCreate(t.Context(), config, host, nil, nil, fleet.NewName("image-alone", map[string]bool{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	})
	if err := api.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// AwaitEnd waits until a container ends and returns its exit code.
func AwaitEnd(t *testing.T, api *client.Client, id string) (code int) {
	t.Helper()
	Eventually(t, 2*time.Minute, "the container ends", func() bool {
		info, err := api.ContainerInspect(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		code = info.State.ExitCode
		return !info.State.Running
	})
	return code
}
