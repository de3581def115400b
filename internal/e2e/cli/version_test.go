//go:build linux

package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

func TestVersionOfEngineAndImage(t *testing.T) {
	api := e2e.Engine(t)
	t.Chdir(t.TempDir())
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "plain"))
	want, err := api.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Engine *struct{ Version, API string }
		Image  *struct{ Tag, ID, Version string }
	}
	if err := json.Unmarshal([]byte(e2e.Must(t, "version", "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Engine == nil || got.Engine.Version != want.Version || got.Engine.API != want.APIVersion {
		t.Errorf("engine %+v, want %s, API %s", got.Engine, want.Version, want.APIVersion)
	}
	if got.Image == nil || got.Image.Tag != tag || !strings.HasPrefix(got.Image.ID, "sha256:") || got.Image.Version == "" {
		t.Errorf("image %+v, want %s", got.Image, tag)
	}
	// Other settings need another image, which is not built.
	if err := os.WriteFile("runnerctl.yaml", []byte("image:\n  packages: [cowsay]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "version")
	if code != 0 || strings.Contains(stdout, "image") || !strings.Contains(stderr, "no image: none is built for these settings yet") {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s\nwant %q, but not %q", code, stdout, stderr, "no image: none is built for these settings yet", "image")
	}
}
