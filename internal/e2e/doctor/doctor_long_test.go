//go:build linux && long

package doctor

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// doctor fails on a machine with three faults. After its script ran there, doctor finds them
// fixed.
func TestFixScriptMends(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 16384, TunMode: 0o600})
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", engine.Host)
	t.Setenv("RUNNERCTL", e2e.Program(t))
	engine.Inside(t, makeMetadataService)
	look := func(t *testing.T) (status map[string]doctor.Status, failed bool) {
		t.Helper()
		var report doctor.Report
		if out := engine.Inside(t, `"$RUNNERCTL" doctor -o json || :`); json.Unmarshal([]byte(out), &report) != nil {
			t.Fatalf("got %s, want a report as JSON", out)
		}
		status = map[string]doctor.Status{}
		for _, result := range report.Checks {
			status[result.ID] = result.Status
		}
		return status, report.Failed()
	}
	var scripts []string
	e2e.Step(t, "the machine has three faults", func(t *testing.T) {
		if status, _ := look(t); status["network.metadata"] != doctor.Warn { // while packets are forwarded
			t.Fatalf("got %v, want network.metadata %s", status, doctor.Warn)
		}
		scripts = append(scripts, engine.Inside(t, `"$RUNNERCTL" doctor --fix-script network.metadata devices; sysctl -qw net.ipv4.ip_forward=0`))
		status, failed := look(t)
		if !failed || status["devices.tun"] != doctor.Fail || status["network.forwarding"] != doctor.Fail {
			t.Fatalf("got %v, want devices.tun and network.forwarding %s", status, doctor.Fail)
		}
		scripts = append(scripts, engine.Inside(t, `"$RUNNERCTL" doctor --fix-script network.forwarding`))
	})
	e2e.Step(t, "the scripts mend them, and may run twice", func(t *testing.T) {
		for range 2 {
			for _, one := range scripts {
				t.Setenv("SCRIPT", one)
				if out := engine.Inside(t, `sh -c "$SCRIPT"`); out != "" {
					t.Errorf("the script says %s, want nothing", out)
				}
			}
		}
		status, failed := look(t)
		for _, id := range []string{"devices.tun", "network.forwarding", "network.metadata"} {
			if failed || status[id] != doctor.Pass {
				t.Errorf("%s: %s (failed: %v), want %s", id, status[id], failed, doctor.Pass)
			}
		}
		if out, want := engine.Inside(t, `stat -c %a /dev/net/tun; cat /etc/sysctl.d/60-runnerctl-ip_forward.conf; iptables -S DOCKER-USER | grep -c 169.254`), "666\nnet.ipv4.ip_forward = 1\n1\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	e2e.Step(t, "a missing device of a kernel that has it built in", func(t *testing.T) {
		engine.Inside(t, `umount /dev/net/tun; mount -t tmpfs tmpfs /dev/net`)
		if status, _ := look(t); status["devices.tun"] != doctor.Fail {
			t.Errorf("got %v, want devices.tun %s", status, doctor.Fail)
		}
		t.Setenv("SCRIPT", engine.Inside(t, `"$RUNNERCTL" doctor --fix-script devices.tun`))
		if out, want := engine.Inside(t, `sh -c "$SCRIPT"; stat -c '%F %a %t:%T' /dev/net/tun`), "character special file 666 a:c8\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("then there is nothing to do", func(t *testing.T) {
		if out := engine.Inside(t, `"$RUNNERCTL" doctor --fix-script devices network userns`); !strings.HasSuffix(out, "# Nothing to do.\n") {
			t.Errorf("got:\n%s\nwant %q at the end", out, "# Nothing to do.\n")
		}
	})
}

// makeMetadataService gives a private engine's network a metadata service. $DIR/etc stands in
// for /etc, so the machine's own stays as it is.
const makeMetadataService = `
	cp -a /etc "$DIR/etc" && mount --bind "$DIR/etc" /etc
	unshare --net sleep infinity >/dev/null 2>&1 &
	cloud=$!
	until [ "$(readlink /proc/$cloud/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
	ip link add m0 type veth peer name m1 netns $cloud
	ip addr add 169.254.169.1/24 dev m0 && ip link set m0 up
	nsenter --target $cloud --net sh -euc '
		ip link set lo up
		ip addr add 169.254.169.254/24 dev m1 && ip link set m1 up
		ip route add default via 169.254.169.1
		perl -MIO::Socket::INET -e "\$s = IO::Socket::INET->new(Listen => 5, LocalPort => 80) or die; close \$s->accept while 1" >/dev/null 2>&1 &'
	until bash -c ': </dev/tcp/169.254.169.254/80' 2>/dev/null; do sleep 0.1; done`
