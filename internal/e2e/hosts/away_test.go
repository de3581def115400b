//go:build linux

package hosts

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	clicontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// awayEngine starts an engine with an address of its own.
func awayEngine(t *testing.T, authority *enginetest.Authority) *enginetest.Engine {
	t.Helper()
	return e2e.PlainEngine(t, enginetest.Options{DiskMiB: 64, Linked: true, TLS: authority, Args: []string{"--debug"}})
}

// putRunner creates a container that is listed as a runner and never ran.
func putRunner(t *testing.T, engine *enginetest.Engine, name string) {
	t.Helper()
	labels := map[string]string{"dev.runnerctl.fleet": "ci", "dev.runnerctl.role": "runner", "dev.runnerctl.schema": "1", "dev.runnerctl.runner": name}
	if _, err := engine.API.VolumeCreate(t.Context(), volume.CreateOptions{Name: name + "-data", Labels: labels}); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.API.ContainerCreate(t.Context(), &container.Config{Image: "empty", Cmd: []string{"/none"}, Labels: labels},
		&container.HostConfig{Binds: []string{name + "-data:/rootfs/var/lib/docker"}}, nil, nil, name); err != nil {
		t.Fatal(err)
	}
}

// makeContext creates a docker context with certificates, as `docker context create` does.
func makeContext(t *testing.T, name, address, certificates string) {
	t.Helper()
	contexts := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(docker.DockerEndpoint, func() any { return &docker.EndpointMeta{} }),
	))
	if err := contexts.CreateOrUpdate(store.Metadata{Name: name, Metadata: map[string]any{}, Endpoints: map[string]any{docker.DockerEndpoint: docker.EndpointMeta{Host: address}}}); err != nil {
		t.Fatal(err)
	}
	data, err := clicontext.TLSDataFromFiles(filepath.Join(certificates, "ca.pem"), filepath.Join(certificates, "cert.pem"), filepath.Join(certificates, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := contexts.ResetTLSMaterial(name, &store.ContextTLSData{Endpoints: map[string]store.EndpointTLSData{docker.DockerEndpoint: *data.ToStoreTLSData()}}); err != nil {
		t.Fatal(err)
	}
}

// Engines at their own addresses, by tcp:// and by docker contexts, all with TLS.
func TestTLSHosts(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	config.SetDir(os.Getenv("DOCKER_CONFIG"))
	authority, stranger := enginetest.NewAuthority(t), enginetest.NewAuthority(t)
	one, two := awayEngine(t, authority), awayEngine(t, authority)
	putRunner(t, one, "ci-aaaa")
	putRunner(t, two, "ci-bbbb")
	makeContext(t, "two", two.TCP, authority.Dir)
	makeContext(t, "wrong", two.TCP, stranger.Dir)
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("hosts:\n- {name: one, address: %q}\n- {name: other, address: two}\n", one.TCP))

	t.Setenv("DOCKER_CERT_PATH", authority.Dir)
	if table := e2e.Must(t, "ps"); !strings.Contains(table, "ci-aaaa  one    ") || !strings.Contains(table, "ci-bbbb  other  ") {
		t.Errorf("ps:\n%s\nwant %q and %q", table, "ci-aaaa  one    ", "ci-bbbb  other  ")
	}
	if quiet := e2e.Must(t, "ps", "-q", "--host", "two"); quiet != "ci-bbbb\n" {
		t.Errorf("ps of the context: %q, want %q", quiet, "ci-bbbb\n")
	}
	for _, address := range []string{"wrong", two.TCP} {
		t.Setenv("DOCKER_CERT_PATH", stranger.Dir)
		refused(t, []string{"ps", "--host", address}, "host "+address+": its certificate is not trusted", "ca.pem", "must be the authority that signed the engine's certificate")
	}
	mixed := t.TempDir() // the right authority, and a client certificate that it did not sign
	for name, dir := range map[string]string{"ca.pem": authority.Dir, "cert.pem": stranger.Dir, "key.pem": stranger.Dir} {
		if err := os.WriteFile(filepath.Join(mixed, name), []byte(e2e.ReadFile(filepath.Join(dir, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CERT_PATH", mixed)
	refused(t, []string{"ps", "--host", one.TCP}, "it refuses this client's certificate", "must be signed by the authority that the engine trusts")
	t.Setenv("DOCKER_CERT_PATH", "")
	refused(t, []string{"ps", "--host", one.TCP}, "tcp:// without TLS: anyone who reaches that port is root on that machine", "ssh:// needs no setup")

	t.Setenv("DOCKER_CERT_PATH", authority.Dir)
	e2e.Must(t, "down")
	if left := append(e2e.Leftovers(t, one.API, "ci"), e2e.Leftovers(t, two.API, "ci")...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// silence drops everything that a machine sends to the engine once one of its connections has
// had its first answers; forgive ends that.
const (
	silence = `iptables -A INPUT -i eth0 -m recent --name silent --rcheck -j DROP
		iptables -A INPUT -i eth0 -p tcp --dport 2376 -m connbytes --connbytes 9: --connbytes-dir original --connbytes-mode packets -m recent --name silent --set -j DROP`
	forgive = `echo / >/proc/net/xt_recent/silent`
)

// heard records when words were first written.
type heard struct {
	io.Writer
	words   string
	started time.Time
	after   time.Duration
}

func (h *heard) Write(p []byte) (int, error) {
	if h.after == 0 && bytes.Contains(p, []byte(h.words)) {
		h.after = time.Since(h.started)
	}
	return h.Writer.Write(p)
}

// When a host falls silent during a request, this is reported in time, and the other host's
// output is shown.
func TestHostFallsSilent(t *testing.T) {
	t.Chdir(t.TempDir())
	authority := enginetest.NewAuthority(t)
	t.Setenv("DOCKER_CERT_PATH", authority.Dir)
	one, two := awayEngine(t, authority), awayEngine(t, authority)
	putRunner(t, one, "ci-aaaa")
	putRunner(t, two, "ci-bbbb")
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("hosts:\n- {name: one, address: %q}\n- {name: two, address: %q}\n", one.TCP, two.TCP))
	e2e.Must(t, "ps")
	two.Inside(t, silence)
	tests := []struct{ line, one string }{ // the output of host one meanwhile
		{"ps", "ci-aaaa  one "},
		{"logs", ""},
		{"down --dry-run", "one  remove  ci-aaaa"},
		{"doctor engine --offline", "✔ engine.version"},
		{"up --dry-run", "one  create  ci-"},
		{"host ls", "one   " + one.TCP + "  1/1"},
	}
	if !e2e.Thorough {
		tests = tests[:1]
	}
	for _, test := range tests {
		two.Inside(t, forgive)
		var out bytes.Buffer
		said := &heard{Writer: &out, words: "host two: it does not answer", started: time.Now()}
		code := commands.Run(t.Context(), session.Session{Streams: ui.Streams{In: strings.NewReader(""), Out: said, Err: said}, Env: os.Getenv, GOOS: "linux"}, append([]string{"runnerctl"}, strings.Fields(test.line)...))
		if said.after == 0 || said.after > within || !strings.Contains(out.String(), test.one) || !strings.Contains(out.String(), "that no firewall drops the packets") {
			t.Errorf("%s: exit code %d, output after %s, want some within %s:\n%s\nwant %q and the firewall", test.line, code, said.after, within, out.String(), test.one)
		}
		if log := two.Log(200); !strings.Contains(log, "Calling HEAD /_ping") {
			t.Errorf("%s: it never answered", test.line)
		}
	}
}
