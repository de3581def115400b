//go:build linux

package e2e

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// Engine connects to this machine's own engine. Tests touch only containers of the fleet
// names that they make up. In CI, a missing engine is a failure.
func Engine(t *testing.T) *client.Client {
	t.Helper()
	return enginetest.Own(t)
}

// ProcessesOf lists the control group files (/proc/PID/cgroup) of the machine's processes
// that run in one of the containers.
func ProcessesOf(t *testing.T, containers []string) (left []string) {
	t.Helper()
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range groups {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended
		}
		for _, id := range containers {
			if bytes.Contains(text, []byte(id)) {
				left = append(left, path)
			}
		}
	}
	return left
}

// RemoveImage removes an image that the test made.
func RemoveImage(t *testing.T, api *client.Client, reference string) {
	t.Helper()
	if _, err := api.ImageRemove(context.Background(), reference, image.RemoveOptions{Force: true}); err != nil && !cerrdefs.IsNotFound(err) {
		t.Error(err)
	}
}

// ContainerLog returns the last 50 lines of a container's log.
func ContainerLog(t *testing.T, api *client.Client, id string) string {
	t.Helper()
	stream, err := api.ContainerLogs(t.Context(), id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "50"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var text strings.Builder
	if _, err := stdcopy.StdCopy(&text, &text, stream); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
