//go:build linux && long

package commands

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// privateFleet starts a private engine that has the runner image and reaches a stand-in
// GitHub.
func privateFleet(t *testing.T, count int, args ...string) (*enginetest.Engine, *ghsim.Server) {
	t.Helper()
	machine := realEngine(t)
	t.Chdir(t.TempDir())
	private := enginetest.Start(t, enginetest.Options{Linked: true, Args: args})
	github := startGitHub(t, ghsim.Options{
		Address: private.Gateway + ":0", RunnerAddress: private.Gateway + ":0",
		SessionTimeout: 10 * time.Second, PollTimeout: 3 * time.Second,
	})
	writeSettings(t, github, "acme/api", fmt.Sprintf("runners: {count: %d}\nimage: {agent: {archive: %s}}", count, agenttest.Archive(t)))
	tag := strings.TrimSpace(must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	private.CopyImage(t, machine, tag, "debian:trixie-slim")
	supervised(t)
	return private, github
}

// downClean removes the fleet and checks that nothing is left.
func downClean(t *testing.T, private *enginetest.Engine, github *ghsim.Server, name string) {
	t.Helper()
	must(t, "down", "--fleet", name)
	if left := leftovers(t, private.API, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, registered(github))
	}
}

// When the engine and everything on it die and come back, as on a reboot, the supervisor
// comes back too and completes the fleet.
func TestSupervisorOverAnEngineRestart(t *testing.T) {
	const count, name = 2, "restarted"
	private, github := privateFleet(t, count)
	t.Setenv("DOCKER_HOST", private.Host)
	must(t, up(name)...)
	before := supervisorOf(t, private.API, name)
	had := registered(github)
	events := func() string { return must(t, "events", "--fleet", name) }
	eventually(t, time.Minute, "its beginning is written down", func() bool { return strings.Contains(events(), "  began: ") })
	private.Kill()
	private.Run(t)
	eventually(t, 3*time.Minute, "GitHub lists new runners, and no ghost", func() bool {
		all := github.Runners()
		return len(all) == count && !slices.ContainsFunc(all, func(one ghsim.Runner) bool { return !one.Online || slices.Contains(had, one.Name) })
	})
	jobs(t, github, 1)
	if now := supervisorOf(t, private.API, name); now.ContainerID != before.ContainerID || !now.Running {
		t.Errorf("before %+v, now %+v, want the same, running", before, now)
	}
	eventually(t, time.Minute, "its second beginning is written down", func() bool { return strings.Count(events(), "  began: ") == 2 })
	downClean(t, private, github, name)
}

// On an engine that is reached by ssh or TCP, the supervisor uses the socket on the engine's
// machine, so the client may disconnect.
func TestSupervisorOfARemoteEngine(t *testing.T) {
	const count = 1
	private, github := privateFleet(t, count, "--host", "tcp://0.0.0.0:2375", "--tls=false")
	// Over TCP, the engine's socket path is unknown, so the usual one is assumed. This mount
	// is visible only in the private engine's namespace; the machine's own engine keeps its
	// socket.
	private.Inside(t, `mount --bind "$DIR/docker.sock" /var/run/docker.sock`)
	gateway, err := netip.ParseAddr(private.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	sshd := enginetest.StartSSH(t, enginetest.SSHOptions{})
	for name, host := range map[string]string{
		"by-ssh": sshd.Address + strings.TrimPrefix(private.Host, "unix://"),
		"by-tcp": "tcp://" + gateway.Next().String() + ":2375",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", host)
			must(t, up(name)...)
			if found := supervisorOf(t, private.API, name); !found.Running || found.Foreground {
				t.Fatalf("got %+v, want a supervisor that runs in the background", found)
			}
			had := jobs(t, github, 1)
			online(t, github, count, had...)
			must(t, "inspect", had[0])
			downClean(t, private, github, name)
		})
	}
}
