//go:build long

package commands

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// host prepare by ssh does what it told, shows doctor's report of that machine, and has
// nothing to do again.
func TestHostIsPrepared(t *testing.T) {
	t.Chdir(t.TempDir())
	m := enginetest.StartMachine(t)
	m.StartEngine(t)
	m.Must(t, "chmod 0600 /dev/net/tun")
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: m})
	prepare := []string{"host", "prepare", host.Address, "--yes"}
	code, stdout, stderr := runnerctl(t.Context(), prepare...)
	if code != 0 || !strings.Contains(stderr, "will set fs.inotify.max_user_instances to 8192") || !strings.Contains(stderr, "       set fs.inotify.max_user_instances to 8192") || !strings.Contains(stdout, "✔ engine.reachable     "+host.Address) {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	if after := m.Must(t, state); !strings.Contains(after, "/dev/net/tun 666") || !strings.Contains(after, "fs.inotify.max_user_instances = 8192") || !strings.Contains(after, "-d 169.254.169.254/32 -j REJECT") {
		t.Errorf("after that:\n%s", after)
	}
	if code, _, stderr := runnerctl(t.Context(), prepare...); code != 0 || !strings.Contains(stderr, " is prepared already\n") || strings.Contains(stderr, "will ") {
		t.Errorf("again: code %d: %s", code, stderr)
	}
}

// What is asked of a host after it fell silent is not waited for once more, and it is
// heard again when it is there again; by TLS and by ssh.
func TestSilenceIsWaitedForOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	authority := enginetest.NewAuthority(t)
	t.Setenv("DOCKER_CERT_PATH", authority.Dir)
	private := awayEngine(t, authority)
	machine := enginetest.StartMachine(t)
	machine.StartEngine(t)
	host := enginetest.StartSSH(t, enginetest.SSHOptions{Machine: machine})
	tests := map[string]func(script string){
		private.TCP:  func(script string) { private.Inside(t, script) },
		host.Address: func(script string) { machine.Must(t, script) },
	}
	var all sync.WaitGroup
	for address, inside := range tests {
		all.Go(func() {
			d := deps{env: os.Getenv, goos: "linux", host: address}
			engine, _, err := connect(d)
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
					t.Errorf("%s: %v", address, err)
				}
			}
			if took := time.Since(started); took > within {
				t.Errorf("%s: %s", address, took)
			}
			inside("iptables -D INPUT -i eth0 -j DROP")
			eventually(t, within, "it is heard again", func() bool {
				_, err := engine.Facts(t.Context())
				return err == nil
			})
		})
	}
	all.Wait()
}
