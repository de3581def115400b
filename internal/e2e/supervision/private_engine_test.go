//go:build linux && long

package supervision

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// When the engine and everything on it die and come back, as on a reboot, the supervisor
// comes back too and completes the fleet.
func TestSupervisorOverAnEngineRestart(t *testing.T) {
	const count, name = 2, "restarted"
	private, github := e2e.PrivateFleet(t, count)
	t.Setenv("DOCKER_HOST", private.Host)
	e2e.Must(t, e2e.Up(name)...)
	before := e2e.SupervisorOf(t, private.API, name)
	had := e2e.Registered(github)
	events := func() string { return e2e.Must(t, "events", "--fleet", name) }
	e2e.Eventually(t, time.Minute, "its beginning is written down", func() bool { return strings.Contains(events(), "  began: ") })
	private.Kill()
	private.Run(t)
	e2e.Eventually(t, 3*time.Minute, "GitHub lists new runners, and no ghost", func() bool {
		all := github.Runners()
		return len(all) == count && !slices.ContainsFunc(all, func(one ghsim.Runner) bool { return !one.Online || slices.Contains(had, one.Name) })
	})
	e2e.RunJobs(t, github, 1)
	if now := e2e.SupervisorOf(t, private.API, name); now.ContainerID != before.ContainerID || !now.Running {
		t.Errorf("before %+v, now %+v, want the same, running", before, now)
	}
	e2e.Eventually(t, time.Minute, "its second beginning is written down", func() bool { return strings.Count(events(), "  began: ") == 2 })
	e2e.DownClean(t, private, github, name)
}

// On an engine that is reached by ssh or TCP, the supervisor uses the socket on the engine's
// machine, so the client may disconnect.
func TestSupervisorOfARemoteEngine(t *testing.T) {
	const count = 1
	private, github := e2e.PrivateFleet(t, count, "--host", "tcp://0.0.0.0:2375", "--tls=false")
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
			e2e.Must(t, e2e.Up(name)...)
			if found := e2e.SupervisorOf(t, private.API, name); !found.Running || found.Foreground {
				t.Fatalf("got %+v, want a supervisor that runs in the background", found)
			}
			had := e2e.RunJobs(t, github, 1)
			e2e.AwaitOnline(t, github, count, had...)
			e2e.Must(t, "inspect", had[0])
			e2e.DownClean(t, private, github, name)
		})
	}
}
