package enginetest

import (
	"os"
	"testing"

	"github.com/docker/docker/client"
)

// Own returns the machine's own engine. Without an engine, the test is skipped; in CI it
// fails.
func Own(t *testing.T) *client.Client {
	t.Helper()
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		_, err = api.Ping(t.Context())
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI without a Docker Engine: %v", err)
		}
		t.Skipf("no Docker Engine here (scripts/host/setup.sh makes one): %v", err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return api
}
