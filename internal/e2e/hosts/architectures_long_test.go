//go:build linux && long

package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/session"
)

// foreign returns the address of an engine that reports another architecture, and that
// architecture. All else is unchanged.
func foreign(t *testing.T, engine *enginetest.Engine) (address, architecture string) {
	t.Helper()
	architecture, words := "arm64", []string{`"x86_64"`, `"aarch64"`, `"amd64"`, `"arm64"`}
	if runtime.GOARCH == "arm64" {
		architecture, words = "amd64", []string{`"aarch64"`, `"x86_64"`, `"arm64"`, `"amd64"`}
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", strings.TrimPrefix(engine.Host, "unix://"))
	}}
	proxy.ModifyResponse = func(response *http.Response) error {
		if path := response.Request.URL.Path; !strings.HasSuffix(path, "/info") && !strings.HasSuffix(path, "/version") {
			return nil
		}
		body, err := io.ReadAll(response.Body)
		body = []byte(strings.NewReplacer(words...).Replace(string(body)))
		response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		response.Header.Set("Content-Length", fmt.Sprint(len(body)))
		return err
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String(), architecture
}

// An image is copied to no host of another architecture. If such an image is there all the
// same, up reports it, and the other hosts go on.
func TestTwoArchitectures(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_CERT_PATH", "")
	one, two := e2e.PlainEngine(t, enginetest.Options{DiskMiB: 64}), enginetest.Start(t, enginetest.Options{DiskMiB: 64})
	address, architecture := foreign(t, two)
	ours := func(address string) *dockerx.Engine {
		engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux", Host: address}.Connect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = engine.Close() })
		return engine
	}
	var wrong *dockerx.ArchError
	moved, err := ours(address).Move(t.Context(), ours(one.Host), []string{"empty"}, func(int64, int64) {})
	if want := fmt.Sprintf("image empty is made for %s, the engine's machine is %s", runtime.GOARCH, architecture); moved || !errors.As(err, &wrong) || err.Error() != want {
		t.Errorf("moved %t: %v, want not moved, and %q", moved, err, want)
	}
	if id, err := ours(address).ImageID(t.Context(), "empty"); id != "" || err != nil {
		t.Errorf("image %q, %v, want none", id, err)
	}

	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("image: {base: empty, outerBase: empty}\nhosts:\n- {name: one, address: %q}\n- {name: two, address: %q}\n", one.Host, address))
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "up", "--dry-run")
	if strings.Contains(stderr, "made for") || !strings.Contains(stdout, "two  create  ci-") {
		t.Errorf("up, before it is there: exit code %d; stdout:\n%s\nwant %q; stderr:\n%s\nwant no %q", code, stdout, "two  create  ci-", stderr, "made for")
	}
	two.CopyImage(t, one.API, "empty") // as docker save and load would
	code, stdout, stderr = e2e.Runnerctl(t.Context(), "up", "--dry-run")
	for _, want := range []string{
		"two  left out: image empty is made for " + runtime.GOARCH + ", the engine's machine is " + architecture, "error: host two: image empty is made for",
		"docker pull --platform linux/" + architecture,
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("up: no %q in\n%s", want, stderr)
		}
	}
	if code != commands.ExitFailure || !strings.Contains(stdout, "one  create  ci-") || strings.Contains(stdout, "two  ") {
		t.Errorf("up: exit code %d, want %d; stdout:\n%s\nwant %q, but not %q", code, commands.ExitFailure, stdout, "one  create  ci-", "two  ")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "build", "--host", "two"); code != commands.ExitFailure || !strings.Contains(stderr, "image empty is made for "+runtime.GOARCH) {
		t.Errorf("build: exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "image empty is made for "+runtime.GOARCH)
	}
}
