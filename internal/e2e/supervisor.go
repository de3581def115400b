//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// FreeAddress returns an address of this machine that was free a moment ago.
func FreeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// PrivateFleet starts a private engine that has the runner image and reaches a stand-in
// GitHub.
func PrivateFleet(t *testing.T, count int, args ...string) (*enginetest.Engine, *ghsim.Server) {
	t.Helper()
	machine := Engine(t)
	t.Chdir(t.TempDir())
	private := enginetest.Start(t, enginetest.Options{Linked: true, Args: args})
	github := StartGitHub(t, ghsim.Options{
		Address: private.Gateway + ":0", RunnerAddress: private.Gateway + ":0",
		SessionTimeout: 10 * time.Second, PollTimeout: 3 * time.Second,
	})
	WriteSettings(t, github, "acme/api", fmt.Sprintf("runners: {count: %d}\nimage: {agent: {archive: %s}}", count, agenttest.Archive(t)))
	tag := strings.TrimSpace(Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	private.CopyImage(t, machine, tag, "debian:trixie-slim")
	Supervised(t)
	return private, github
}

// DownClean removes the fleet and checks that nothing is left.
func DownClean(t *testing.T, private *enginetest.Engine, github *ghsim.Server, name string) {
	t.Helper()
	Must(t, "down", "--fleet", name)
	if left := Leftovers(t, private.API, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, Registered(github))
	}
}

// Supervised lets up leave supervisors behind, as it does by default.
func Supervised(t *testing.T) {
	t.Helper()
	if err := os.Unsetenv("RUNNERCTL_NO_SUPERVISOR"); err != nil { // startGitHub sets it, and its end restores it
		t.Fatal(err)
	}
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", Program(t))
	t.Setenv("RUNNERCTL_METRICS_ADDRESS", FreeAddress(t))
}

// SupervisorOf returns a fleet's supervisor and removes its image after the test.
func SupervisorOf(t *testing.T, api *client.Client, name string) dockerx.SupervisorState {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	found, err := engine.Supervisor(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if found.Image != "" {
		t.Cleanup(func() { RemoveImage(t, api, found.Image) })
	}
	return found
}
