//go:build linux && long

package machine

import (
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// runners.dockerd reaches the runners' daemons, in addition to a daemon.json of the image.
func TestDockerdSettings(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	settings := func(more string) {
		t.Helper()
		text := "runners: {dockerd: {log-driver: local, registry-mirrors: [\"http://127.0.0.1:1\"], max-concurrent-downloads: 7}}\n" + more
		if err := os.WriteFile("runnerctl.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings("")
	e2e.Must(t, e2e.Up(name)...)
	first := e2e.List(t, name)[0].Name
	const show = `docker info --format '{{.LoggingDriver}} {{.RegistryConfig.Mirrors}} {{.Labels}}'`
	if got := e2e.Must(t, "exec", first, "--", "sh", "-c", show); got != "local [http://127.0.0.1:1/] []\n" {
		t.Errorf("got %q, want %q", got, "local [http://127.0.0.1:1/] []\n")
	}
	settings(`image: {dockerfile: "RUN mkdir -p /etc/docker && echo '{\"labels\": [\"of=image\"], \"log-driver\": \"none\"}' >/etc/docker/daemon.json"}` + "\n")
	e2e.Must(t, e2e.Up(name)...)
	second := e2e.List(t, name)[0]
	t.Cleanup(func() { e2e.RemoveImage(t, api, second.Image) })
	if second.Name == first {
		t.Errorf("runner %s was not replaced, want another", second.Name)
	}
	if got := e2e.Must(t, "exec", second.Name, "--", "sh", "-c", show); got != "local [http://127.0.0.1:1/] [of=image]\n" {
		t.Errorf("got %q, want %q", got, "local [http://127.0.0.1:1/] [of=image]\n")
	}
	if err := os.WriteFile("runnerctl.yaml", []byte("runners:\n  dockerd:\n    hosts: [\"tcp://0.0.0.0:2375\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name)...); code != commands.ExitUsage || !strings.Contains(stderr, "runners.dockerd: hosts can't be set") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitUsage, stderr, "runners.dockerd: hosts can't be set")
	}
	if err := os.Remove("runnerctl.yaml"); err != nil { // down reads it
		t.Fatal(err)
	}
}
