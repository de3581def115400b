//go:build linux

package docker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMirrorWrites(t *testing.T) {
	root := t.TempDir()
	own := filepath.Join(root, "etc/docker/certs.d/quay.io/hosts.toml")
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("# of the image\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mirror := Mirror{Registries: []string{"docker.io", "ghcr.io", "quay.io"}, Loopback: "127.0.0.1:4180", Address: "192.0.2.1:4180"}
	if err := mirror.Write(root, map[string]int{"home": os.Getuid()}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/docker/certs.d/ghcr.io/hosts.toml":            "server = \"https://ghcr.io\"\n\n[host.\"http://127.0.0.1:4180\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
		"root/.config/docker/certs.d/quay.io/hosts.toml":   "server = \"https://quay.io\"\n\n[host.\"http://127.0.0.1:4180\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
		"etc/docker/certs.d/quay.io/hosts.toml":            "# of the image\n",
		"home/.docker/buildx/buildkitd.default.toml":       "[registry.\"docker.io\"]\n  mirrors = [\"192.0.2.1:4180\"]\n[registry.\"ghcr.io\"]\n  mirrors = [\"192.0.2.1:4180\"]\n[registry.\"quay.io\"]\n  mirrors = [\"192.0.2.1:4180\"]\n[registry.\"192.0.2.1:4180\"]\n  http = true\n",
		"etc/docker/certs.d/docker.io/hosts.toml":          "",
		"root/.config/docker/certs.d/docker.io/hosts.toml": "",
	} {
		if got, _ := os.ReadFile(filepath.Join(root, name)); string(got) != want { // "": no file
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// A link that a job left leads to no file outside.
func TestMirrorStaysInside(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(root, "home")); err != nil {
		t.Fatal(err)
	}
	err := Mirror{Registries: []string{"docker.io"}}.Write(root, map[string]int{"home": os.Getuid()})
	if left, _ := os.ReadDir(outside); err == nil || len(left) > 0 {
		t.Errorf("error %v, wrote %v, want an error and nothing", err, left)
	}
}

func TestMirrorOfDockerHub(t *testing.T) {
	for registries, want := range map[string]string{"": "", "ghcr.io": "", "ghcr.io docker.io": "http://127.0.0.1:4180"} {
		if got := (Mirror{Registries: strings.Fields(registries), Loopback: "127.0.0.1:4180"}).OfDockerHub(); got != want {
			t.Errorf("%s: %q, want %q", registries, got, want)
		}
	}
}
