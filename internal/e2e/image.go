//go:build linux

package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/session"
)

// RunnerImage returns the tag of the default image, and builds it if it is missing.
func RunnerImage(t *testing.T) (tag string) {
	t.Helper()
	t.Chdir(t.TempDir())
	return strings.TrimSpace(Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
}

// BuildImage builds a Dockerfile of a test and removes the image at the test's end.
func BuildImage(t *testing.T, api *client.Client, tag, dockerfile string) error {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	t.Cleanup(func() { RemoveImage(t, api, tag) })
	files := dockerx.Context{"Dockerfile": []byte(dockerfile)}
	return engine.Build(t.Context(), files, dockerx.BuildOptions{Tag: tag, Progress: "quiet", Out: &bytes.Buffer{}})
}
