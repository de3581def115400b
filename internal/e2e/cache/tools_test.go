//go:build linux && cache

package cache

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// toolServer stands in for GitHub's manifests of tools and their archives. Its node says its version.
func toolServer(t *testing.T) *httptest.Server {
	t.Helper()
	var archive bytes.Buffer
	packed := gzip.NewWriter(&archive)
	out := tar.NewWriter(packed)
	const program = "#!/bin/sh\necho v22.9.1\n"
	err := errors.Join(
		out.WriteHeader(&tar.Header{Name: "node-v22.9.1-linux-x64/bin/", Typeflag: tar.TypeDir, Mode: 0o755}),
		out.WriteHeader(&tar.Header{Name: "node-v22.9.1-linux-x64/bin/node", Mode: 0o755, Size: int64(len(program))}),
	)
	if _, writing := out.Write([]byte(program)); errors.Join(err, writing, out.Close(), packed.Close()) != nil {
		t.Fatal(err, writing)
	}
	var server *httptest.Server
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/node-versions/main/versions-manifest.json":
			file := func(version, platform, arch string) string {
				return fmt.Sprintf(`{"version":%q,"stable":true,"files":[{"platform":%q,"arch":%q,"download_url":"%s/%s.tar.gz"}]}`, version, platform, arch, server.URL, version)
			}
			_, _ = w.Write([]byte("[" + strings.Join([]string{file("23.0.0", "linux", "x64"), file("22.10.0", "darwin", "x64"), file("22.9.1", "linux", "x64"), file("22.9.0", "linux", "x64")}, ",") + "]"))
		case "/22.9.1.tar.gz", "/22.9.0.tar.gz":
			_, _ = w.Write(archive.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	if server.Listener, err = net.Listen("tcp", e2e.BridgeAddress(t)+":0"); err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// Each runner has the tools of cache.tools from its start, where the setup actions look for them. A job
// can change its own copy.
func TestTools(t *testing.T) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) })
	server := toolServer(t)
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	fleet := e2e.NewFleet(t, api)
	settings := fmt.Sprintf("cache: {size: 4GiB, tools: [node@22], toolsFrom: %q}\n", server.URL)
	e2e.WriteFile(t, "runnerctl.yaml", settings)
	e2e.Must(t, e2e.Up(fleet, "--count", "2")...)
	server.Close()
	const look = `cd /opt/hostedtoolcache/node/22.9.1 && test -e x64.complete && x64/bin/node && ! test -e x64/lib`
	for _, runner := range e2e.List(t, fleet) {
		if out := e2e.Must(t, "exec", runner.Name, "--", "sh", "-euc", look+"; mkdir x64/lib; touch x64/bin/npm"); strings.TrimSpace(out) != "v22.9.1" {
			t.Errorf("got %q, want the newest version 22 for Linux", out)
		}
	}
	t.Run("cache warm", func(t *testing.T) {
		again := toolServer(t)
		e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("cache: {size: 4GiB, toolsFrom: %q}\n", again.URL))
		first := e2e.List(t, fleet)[0].Name
		e2e.Must(t, "exec", first, "--", "sh", "-euc", "mkdir -p /opt/hostedtoolcache/zig/0.13.0/x64/bin; echo 'echo 0.13' >/opt/hostedtoolcache/zig/0.13.0/x64/bin/zig; touch /opt/hostedtoolcache/zig/0.13.0/x64.complete")
		warm := append([]string{"cache", "warm"}, e2e.Up(fleet)[1:]...)
		if out := e2e.Must(t, append(warm, "--tool", "node@22.9.0", "--tools-of", first)...); out != "node 22.9.0\n" {
			t.Errorf("got %q, want the new tool", out)
		}
		e2e.Must(t, "down", "--fleet", fleet)
		e2e.Must(t, e2e.Up(fleet)...)
		e2e.Must(t, "exec", e2e.List(t, fleet)[0].Name, "--", "sh", "-euc", `cd /opt/hostedtoolcache && node/22.9.0/x64/bin/node && node/22.9.1/x64/bin/node && sh zig/0.13.0/x64/bin/zig && touch zig/0.13.0/x64/bin/new`)
	})
	t.Run("a version that does not exist", func(t *testing.T) {
		again := toolServer(t)
		e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("cache: {size: 4GiB, tools: [node@21], toolsFrom: %q}\n", again.URL))
		code, _, said := e2e.Runnerctl(t.Context(), e2e.Up(fleet)...)
		if code != 1 || !strings.Contains(said, "cache.tools: ") || !strings.Contains(said, "node@21") {
			t.Errorf("code %d\n%s\nwant code 1 and the tool", code, said)
		}
	})
}
