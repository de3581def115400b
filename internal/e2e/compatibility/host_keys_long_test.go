//go:build linux && long

package compatibility

import (
	"encoding/json"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// wayOutName is the one name that the way out's DNS server knows.
const wayOutName = "way.test."

// doctor and up agree about each host: if doctor passes, a runner works; if a check fails, it
// names the key and its fix, and up makes nothing.
func TestHostKeys(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	for _, key := range hostKeys {
		t.Run(key.id, func(t *testing.T) {
			config := key.config
			if !strings.Contains(config, `"dns"`) {
				config = strings.TrimPrefix(config+`, "dns": ["GATEWAY"]`, ", ")
			}
			var gateway string
			engine := enginetest.Start(t, enginetest.Options{DiskMiB: 3000, From: machine, Images: []string{tag, "debian:trixie-slim"}, Linked: true, Config: func(address string) string {
				gateway = address
				return "{" + strings.ReplaceAll(config, "GATEWAY", address) + "}"
			}})
			t.Setenv("DOCKER_HOST", engine.Host)
			t.Chdir(t.TempDir())
			port := wayOut(t, gateway)
			if key.shell != "" {
				engine.Inside(t, key.shell)
			}
			agree(t, key, gateway, port)
			if left := e2e.Leftovers(t, engine.API, "ci"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func agree(t *testing.T, key hostKey, gateway, port string) {
	t.Helper()
	_, report, stderr := e2e.Runnerctl(t.Context(), "doctor", "-o", "json")
	var seen doctor.Report
	if err := json.Unmarshal([]byte(report), &seen); err != nil {
		t.Fatalf("%v: %s%s", err, report, stderr)
	}
	failed := map[string]string{}
	for _, result := range seen.Checks {
		if result.Severity == doctor.Mandatory && (result.Status == doctor.Fail || result.Status == doctor.Crash) {
			failed[result.ID] = result.Observed + "; " + result.Remedy.Text + strings.Join(result.Remedy.Commands, "; ")
		}
		if key.warns == result.ID && result.Status != doctor.Warn {
			t.Errorf("got %+v, want %s", result, doctor.Warn)
		}
	}
	code, _, said := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if (code == 0) != (len(failed) == 0) {
		t.Errorf("doctor: %v; up: exit code %d: %s\nwant both to fail, or neither", failed, code, said)
	}
	if key.red != "" {
		if problem, found := failed[key.red]; !found || !strings.Contains(problem, key.cure) {
			t.Errorf("got %v, want %s with %s", failed, key.red, key.cure)
		}
		if !strings.Contains(said, key.red) || !strings.Contains(said, key.cure) {
			t.Errorf("up says %s\nwant %s and %s", said, key.red, key.cure)
		}
	} else if len(failed) > 0 && key.note == "" {
		t.Errorf("failed: %v, want none", failed)
	}
	if code != 0 {
		return
	}
	defer e2e.Must(t, "down")
	runner := e2e.List(t, "ci")[0].Name
	script := `
sudo true
for try in 1 2 3; do ! getent hosts "$1" >/dev/null || break; done
getent hosts "$1" >/dev/null || { echo "no DNS"; cat /etc/resolv.conf; exit 1; }
exec 3<>"/dev/tcp/$2/$3"
made=$(mktemp -d)
cp --parents /bin/bash $(ldd /bin/bash | grep -o '/[^ ]*') "$made"
tar -c -C "$made" . | docker import - inner >/dev/null
docker run --rm inner /bin/bash -c 'exec 3<>"/dev/tcp/$0/$1" && echo reached' "$2" "$3"
` + key.script
	if code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-euc", script, "job", strings.TrimSuffix(wayOutName, "."), gateway, port); code != 0 || !strings.Contains(stdout, "reached") {
		t.Errorf("in a runner: exit code %d, want 0; stdout:\n%s\nstderr:\n%s\nwant %q", code, stdout, stderr, "reached")
	}
	if _, log, _ := e2e.Runnerctl(t.Context(), "logs", runner); strings.Contains(log, "not running as PID 1") {
		t.Errorf("two inits: %s", log)
	}
}

// wayOut serves the targets of an engine's outbound connections: a DNS server and a port.
func wayOut(t *testing.T, address string) (port string) {
	t.Helper()
	server, err := net.ListenPacket("udp4", net.JoinHostPort(address, "53"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go e2e.AnswerAddress(server, wayOutName, [4]byte(net.ParseIP(address).To4()))
	listener, err := net.Listen("tcp4", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			_ = client.Close()
		}
	}()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port) //nolint:errorlint // Listen's type for "tcp4"
}

// An engine with live-restore is restarted and leaves the supervisor running with a socket on
// which nothing listens. The supervisor ends, and the engine starts it again.
func TestSupervisorOverLiveRestore(t *testing.T) {
	const name = "restored"
	private, github := e2e.PrivateFleet(t, 1, "--live-restore")
	t.Setenv("DOCKER_HOST", private.Host)
	e2e.Must(t, e2e.Up(name)...)
	before, runner := e2e.SupervisorOf(t, private.API, name), e2e.Registered(github)
	private.Restart(t)
	began := time.Now()
	e2e.Eventually(t, 20*time.Second, "the supervisor is started again", func() bool {
		info, err := private.API.ContainerInspect(t.Context(), before.ContainerID)
		return err == nil && info.State.Running && info.RestartCount > 0
	})
	t.Logf("the supervisor is back after %s", time.Since(began))
	if now := e2e.Registered(github); !slices.Equal(now, runner) {
		t.Errorf("runners: %v, want %v", now, runner)
	}
	began = time.Now()
	e2e.Must(t, e2e.Up(name)...)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("up took %s, want at most 30s", took)
	}
	e2e.DownClean(t, private, github, name)
}

// Jobs can use the contents of runners.syscalls and runners.devices. A device that is closed
// is reported before anything is made. Still no attempt gets out.
func TestOpenedOnRequest(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	private := enginetest.Start(t, enginetest.Options{DiskMiB: 3000, From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", private.Host)
	t.Chdir(t.TempDir())
	private.Inside(t, `mknod -m 0600 "$DIR/tun/fuse" c 10 229; touch /dev/fuse; mount --bind "$DIR/tun/fuse" /dev/fuse; mount -t tmpfs tmpfs /etc/tmpfiles.d || true`)
	opened := `
exec 3<>/dev/fuse
perl -e 'my $zero = "\0" x 120; my $at = "\0" x 64; substr($at, 0, 8) = pack "II", 1, 64; substr($at, 40, 8) = pack "Q", 1 << 5 | 1 << 6;
	my %call = (uring => [425, 1, $zero], perf => [298, $at, 0, -1, -1, 0]);
	for (qw(uring perf)) { my ($n, @of) = @{ $call{$_} }; my $got = (uname())[4] eq "aarch64" && $_ eq "perf" ? syscall(241, @of) : syscall($n, @of); $got >= 0 or die "$_: $!\n" }
	use POSIX;'
echo open
`
	try := func() (code int, said string) {
		t.Helper()
		e2e.Must(t, "up", "--progress", "quiet")
		defer e2e.Must(t, "down")
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", e2e.List(t, "ci")[0].Name, "--", "bash", "-euc", opened)
		return code, stdout + stderr
	}
	if code, said := try(); code == 0 {
		t.Errorf("exit code 0, want a failure by default: %s", said)
	}
	if err := os.WriteFile("runnerctl.yaml", []byte("runners: {syscalls: [io_uring, perf], devices: [fuse]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "/dev/fuse has mode 0600") || !strings.Contains(stderr, "chmod 0666 /dev/fuse") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "/dev/fuse has mode 0600", "chmod 0666 /dev/fuse")
	}
	if left := e2e.Leftovers(t, private.API, "ci"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, script, _ := e2e.Runnerctl(t.Context(), "doctor", "--fix-script", "devices.wanted")
	private.Inside(t, script)
	if code, said := try(); code != 0 || !strings.Contains(said, "open") {
		t.Errorf("exit code %d, want 0: %s\nwant %q", code, said, "open")
	}
	if code, stdout, stderr := e2e.Runnerctl(t.Context(), "doctor", "--deep", "--offline"); code != 0 {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
	}
}
