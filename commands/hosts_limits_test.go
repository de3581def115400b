//go:build linux

package commands

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// A runner has what the engine can give, whatever its defaults are, and so can its
// containers; what the engine can't give keeps no runner from its start.
func TestUlimits(t *testing.T) {
	f := newAgentFleet(t, nil)
	given := map[string]fleet.Ulimit{}
	for _, one := range f.spec.Ulimits {
		given[one.Name] = one
	}
	if files := given["nofile"]; files.Hard < 1024 || files.Soft > files.Hard {
		t.Fatalf("%+v", f.spec.Ulimits)
	}
	must(t, up(f.spec.Fleet)...)
	runner := list(t, f.spec.Fleet)[0].Name
	files, locked := given["nofile"].Hard, given["memlock"].Hard
	script := fmt.Sprintf(`
test "$(ulimit -Hn)" = %d
busybox_image
expect %[1]d docker run --rm --ulimit nofile=%[1]d:%[1]d bb sh -c 'ulimit -n'
docker run --rm --ulimit memlock=%[2]d:%[2]d bb true
`, files, locked)
	if locked != fleet.Unlimited {
		script += `! refused=$(docker run --rm --ulimit memlock=-1:-1 bb true 2>&1)
			echo "$refused"`
	}
	code, stdout, stderr := runnerctl(t.Context(), "exec", runner, "--", "bash", "-euc", inputPrelude+script)
	if code != 0 {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	if known := doctor.Explain(stdout); locked != fleet.Unlimited && (known == nil || known.ID != "rlimit") {
		t.Errorf("%q is explained as %+v", stdout, known)
	}

	spec := f.spec
	spec.Ulimits = []fleet.Ulimit{{Name: "nofile", Soft: 1 << 30, Hard: 1 << 31}} // beyond any kernel's fs.nr_open
	name := newName(f.spec.Fleet, map[string]bool{})
	made, err := f.engine.Create(t.Context(), name, spec, secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.engine.WaitReady(t.Context(), made); err != nil {
		t.Error(err)
	}
}

// What runners.syscalls and runners.devices name is open to jobs, a device that is shut is
// named before anything is made, and still nobody gets out.
func TestOpenedOnRequest(t *testing.T) {
	machine := realEngine(t)
	tag := runnerImage(t)
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
		must(t, "up", "--progress", "quiet")
		defer must(t, "down")
		code, stdout, stderr := runnerctl(t.Context(), "exec", list(t, "ci")[0].Name, "--", "bash", "-euc", opened)
		return code, stdout + stderr
	}
	if code, said := try(); code == 0 {
		t.Errorf("closed by default: %s", said)
	}
	if err := os.WriteFile("runnerctl.yaml", []byte("runners: {syscalls: [io_uring, perf], devices: [fuse]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != exitFailure || !strings.Contains(stderr, "/dev/fuse has mode 0600") || !strings.Contains(stderr, "chmod 0666 /dev/fuse") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if left := leftovers(t, private.API, "ci"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, script, _ := runnerctl(t.Context(), "doctor", "--fix-script", "devices.wanted")
	private.Inside(t, script)
	if code, said := try(); code != 0 || !strings.Contains(said, "open") {
		t.Errorf("code %d: %s", code, said)
	}
	if code, stdout, stderr := runnerctl(t.Context(), "doctor", "--deep", "--offline"); code != 0 {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
}
