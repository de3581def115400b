//go:build linux && long

package hosts

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// host prepare by ssh applies its plan and shows doctor's report of that machine. A
// second run has nothing to do.
func TestHostIsPrepared(t *testing.T) {
	t.Chdir(t.TempDir())
	m := enginetest.StartMachine(t)
	m.StartEngine(t, nil)
	m.Must(t, "chmod 0600 /dev/net/tun")
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: m})
	prepare := []string{"host", "prepare", host.Address, "--yes"}
	code, stdout, stderr := e2e.Runnerctl(t.Context(), prepare...)
	if code != 0 || !strings.Contains(stderr, "will set fs.inotify.max_user_instances to 8192") || !strings.Contains(stderr, "       set fs.inotify.max_user_instances to 8192") || !strings.Contains(stdout, "✔ engine.reachable     "+host.Address) {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s\nwant %q, %q and %q", code, stdout, stderr, "will set fs.inotify.max_user_instances to 8192", "       set fs.inotify.max_user_instances to 8192", "✔ engine.reachable     "+host.Address)
	}
	if after := m.Must(t, state); !strings.Contains(after, "/dev/net/tun 666") || !strings.Contains(after, "fs.inotify.max_user_instances = 8192") || !strings.Contains(after, "-d 169.254.169.254/32 -j REJECT") {
		t.Errorf("after that:\n%s\nwant /dev/net/tun of mode 666, 8192 instances, and the metadata address refused", after)
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), prepare...); code != 0 || !strings.Contains(stderr, " is already prepared\n") || strings.Contains(stderr, "will ") {
		t.Errorf("again: exit code %d, want 0; stderr:\n%s\nwant %q, but not %q", code, stderr, " is already prepared\n", "will ")
	}
}

// Requests to a host that fell silent do not wait a second time, and the host is used again
// once it answers; by TLS and by ssh.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	authority := enginetest.NewAuthority(t)
	t.Setenv("DOCKER_CERT_PATH", authority.Dir)
	private := awayEngine(t, authority)
	machine := enginetest.StartMachine(t)
	machine.StartEngine(t, nil)
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: machine})
	tests := map[string]func(script string){
		private.TCP:  func(script string) { private.Inside(t, script) },
		host.Address: func(script string) { machine.Must(t, script) },
	}
	var all sync.WaitGroup
	for address, inside := range tests {
		all.Go(func() {
			s := session.Session{Env: os.Getenv, GOOS: "linux", Host: address}
			engine, _, err := s.Connect()
			if err != nil {
				t.Error(err)
				return
			}
			defer engine.Close()
			if _, err := engine.Facts(t.Context()); err != nil {
				t.Error(err)
			}
			inside("iptables -I INPUT -i eth0 -j DROP")
			started := time.Now()
			for range 3 {
				if _, err := engine.Facts(t.Context()); err == nil || !strings.Contains(err.Error(), "host "+address+": ") {
					t.Errorf("%s: %v, want an error of host %s", address, err, address)
				}
			}
			if took := time.Since(started); took > within {
				t.Errorf("%s: took %s, want at most %s", address, took, within)
			}
			inside("iptables -D INPUT -i eth0 -j DROP")
			e2e.Eventually(t, within, "it is heard again", func() bool {
				_, err := engine.Facts(t.Context())
				return err == nil
			})
		})
	}
	all.Wait()
}

// A fleet with GitHub on two machines that do not know each other, one by TLS and one by ssh:
// each has its count and a supervisor that refills it. down leaves nothing.
func TestGitHubFleetOnHosts(t *testing.T) {
	local := e2e.Engine(t)
	t.Chdir(t.TempDir())
	authority := enginetest.NewAuthority(t)
	t.Setenv("DOCKER_CERT_PATH", authority.Dir)
	one, two := enginetest.StartMachine(t), enginetest.StartMachine(t)
	apis := map[string]*client.Client{"one": one.StartEngine(t, authority), "two": two.StartEngine(t, nil)}
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: two})
	github := e2e.StartGitHub(t, ghsim.Options{Address: one.Gateway + ":0", RunnerAddress: one.Gateway + ":0"})
	e2e.Supervised(t)
	image := fmt.Sprintf("image: {agent: {archive: %s}}", agenttest.Archive(t))
	e2e.WriteSettings(t, github, "acme/api", image)
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	enginetest.CopyImage(t, local, apis["one"], tag, "debian:trixie-slim")
	e2e.WriteSettings(t, github, "acme/api", image, fmt.Sprintf("hosts:\n- {name: one, address: \"tcp://%s:2376\", count: 1}\n- {name: two, address: %q, count: 2}", one.Address, host.Address))

	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != 0 || !strings.Contains(stderr, "two   image from one") {
		t.Fatalf("up: exit code %d, want 0; stderr:\n%s\nwant %q", code, stderr, "two   image from one")
	}
	if a, b := runnersOn(t, apis["one"]), runnersOn(t, apis["two"]); a != 1 || b != 2 || len(e2e.Registered(github)) != 3 {
		t.Errorf("runners %d and %d, want 1 and 2; registered: %v, want 3", a, b, e2e.Registered(github))
	}
	for name, api := range apis {
		if !slices.Contains(e2e.Leftovers(t, api, "ci"), "/runnerctl-supervisor-ci") {
			t.Errorf("%s has no supervisor", name)
		}
	}
	for _, name := range strings.Fields(e2e.Must(t, "ps", "-q")) { // streams over TLS and ssh
		if got := e2e.Must(t, "exec", name, "--", "hostname"); strings.TrimSpace(got) != name {
			t.Errorf("exec: %q, want %q", got, name)
		}
	}
	had := e2e.RunJobs(t, github, 3)
	e2e.AwaitOnline(t, github, 3, had...)
	e2e.Eventually(t, time.Minute, "those that had a job are buried", func() bool {
		return runnersOn(t, apis["one"]) == 1 && runnersOn(t, apis["two"]) == 2
	})
	e2e.Must(t, "down")
	if left := append(e2e.Leftovers(t, apis["one"], "ci"), e2e.Leftovers(t, apis["two"], "ci")...); len(left) > 0 || len(e2e.Registered(github)) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}
