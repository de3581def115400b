//go:build linux && vm

package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/selftest"
)

// onVM is an operator at a laptop, with the program that make builds and a runnerctl.yaml
// that names one machine behind ssh.
type onVM struct {
	*enginetest.VM
	program string
}

// run runs a command as the operator would type it.
func (vm onVM) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	command := exec.Command(vm.program, args...)
	command.Stdout, command.Stderr = &out, &errs
	started := time.Now()
	if err := command.Run(); err != nil && command.ProcessState == nil {
		return -1, "", err.Error()
	}
	t.Logf("%6.1fs  runnerctl %.60s", time.Since(started).Seconds(), strings.Join(args, " "))
	return command.ProcessState.ExitCode(), out.String(), errs.String()
}

func (vm onVM) must(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := vm.run(t, args...)
	if code != 0 {
		t.Fatalf("runnerctl %v: exit code %d, want 0\n%s%s", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// names returns the names of the fleet's runners.
func (vm onVM) names(t *testing.T) []string {
	t.Helper()
	out, _ := vm.must(t, "ps", "-q")
	return strings.Fields(out)
}

// Issue 8's proof: a machine without Docker becomes a host of runners, using ssh alone.
func TestVM(t *testing.T) {
	began := time.Now()
	api := e2e.Engine(t)
	program := e2e.InRepository("bin/runnerctl")
	tag := e2e.RunnerImage(t) // this also changes to a folder of its own
	base := []string{tag, "debian:trixie-slim"}
	disk := enginetest.DockerDisk(t, tag[strings.Index(tag, ":")+1:], func(engine *enginetest.Engine) { engine.CopyImage(t, api, base...) })
	vm := onVM{enginetest.NewVM(t), program}
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "RUNNERCTL_HOST"} {
		t.Setenv(name, "")
	}
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("name: vm\nhosts: [{name: vm, address: %q}]\nrunners: {count: 2, cpus: 2, memory: 1g, readyTimeout: 10m}\n", vm.Address))
	step := func(what string, do func(t *testing.T)) {
		started := time.Now()
		if !t.Run(what, do) {
			t.FailNow() // later steps depend on it
		}
		load, _ := os.ReadFile("/proc/loadavg") //nolint:errcheck // it is only logged
		t.Logf("%6.1fs  %s (load here %.4s)", time.Since(started).Seconds(), what, load)
	}
	t.Logf("%6.1fs  disks", time.Since(began).Seconds())
	step("boot without Docker", func(t *testing.T) { vm.Boot(t, "") })
	step("prepare", vm.prepare)
	step("power off", func(t *testing.T) { vm.PowerOff(t) })
	step("boot with Docker", func(t *testing.T) {
		vm.Boot(t, disk)
		vm.answers(t)
	})
	step("the changes of prepare are still there", vm.prepared)
	step("doctor --deep", vm.doctor)
	step("up", func(t *testing.T) { vm.must(t, "up", "--progress", "plain") })
	step("jobs", vm.jobs)
	step("workflows", func(t *testing.T) { vm.workflows(t, e2e.ImageArchive(t, e2e.ImageMirror(t, api), "busybox:1")) })
	step("metadata", vm.metadata)
	step("down", vm.down)
	step("without the profile", vm.withoutProfile)
}

// answers waits until the engine is as quick as runnerctl requires: 12 s for the first
// answer, which is too short just after the boot of an emulated machine on a busy one.
func (vm onVM) answers(t *testing.T) {
	for limit := time.Now().Add(3 * time.Minute); ; {
		code, _, stderr := vm.run(t, "ps")
		if code == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(stderr)
		}
	}
}

var planned = regexp.MustCompile(`(?m)^will (.*)$`)

func (vm onVM) prepare(t *testing.T) {
	code, _, stderr := vm.run(t, "ps")
	if code != commands.ExitFailure || !strings.Contains(stderr, "it has no docker command") || !strings.Contains(stderr, "runnerctl host prepare "+vm.Address) {
		t.Errorf("ps before: exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "it has no docker command", "runnerctl host prepare "+vm.Address)
	}
	_, plan := vm.must(t, "host", "prepare", "vm", "--dry-run")
	for _, words := range []string{"will install docker.io", "start the Docker Engine", "group docker", "AppArmor profile", "metadata service"} {
		if !strings.Contains(plan, words) {
			t.Errorf("the plan lacks %q:\n%s", words, plan)
		}
	}
	if left := vm.Run(t, "find /etc /usr /var -name '*runnerctl*' -o -name dockerd"); left != "" {
		t.Errorf("a dry run left %s, want nothing", left)
	}
	vm.must(t, "host", "prepare", "vm", "--yes")
	_, again := vm.must(t, "host", "prepare", "vm", "--dry-run")
	if left := planned.FindAllString(again, -1); len(left) > 0 || !strings.Contains(again, "is already prepared") {
		t.Errorf("a second prepare:\n%s\nwant it prepared already", again)
	}
}

// After a boot, everything that prepare set up is still in place.
func (vm onVM) prepared(t *testing.T) {
	_, again := vm.must(t, "host", "prepare", "vm", "--dry-run")
	if !strings.Contains(again, "is already prepared") || planned.MatchString(again) {
		t.Errorf("after a boot:\n%s\nwant it prepared already", again)
	}
	for script, want := range map[string]string{
		"stat -c %a /dev/net/tun": "666",
		"grep -c '^runnerctl-runner (enforce)' /sys/kernel/security/apparmor/profiles":         "1",
		"iptables -S DOCKER-USER | grep -c -- '-d 169.254.169.254/32 -j REJECT'":               "1",
		"sysctl -n user.max_user_namespaces fs.inotify.max_user_instances kernel.keys.maxkeys": "28633\n8192\n2000",
		"systemctl is-active docker runnerctl-metadata":                                        "active\nactive",
		"systemctl --failed --quiet":                                                           "",
		"stat -f -c %T /sys/fs/cgroup; cat /sys/module/apparmor/parameters/enabled":            "cgroup2fs\nY",
	} {
		if got := vm.Run(t, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

// doctor finds no fault, and a real runner passes the steps of a job and does not escape.
func (vm onVM) doctor(t *testing.T) {
	report, _ := vm.must(t, "doctor", "--deep")
	if strings.Contains(report, "✘") || strings.Contains(report, "probe") || !strings.Contains(report, "cgroup v2, systemd") || !strings.Contains(report, " blocked, 0 escaped, ") {
		t.Errorf("doctor:\n%s\nwant no ✘, no probe, cgroup v2 with systemd, and every attempt blocked", report)
	}
}

// job runs the steps of doctor --deep in a runner, and leaves an inner container behind. All
// of it is one command, because a login is slow there.
func (vm onVM) job(t *testing.T, runner string) {
	t.Helper()
	all, err := selftest.Scripts()
	if err != nil {
		t.Error(err)
	}
	args := []string{"exec", runner, "--", "bash", "-c", `for one; do bash -c "$one" || exit; done`, "job"}
	for _, one := range all {
		if one.ID != selftest.NeedsOutside && one.ID != selftest.CarriesMTU { // no VM here meets their requirements
			args = append(args, one.Text)
		}
	}
	args = append(args, "docker run -d --name left runnerctl-deep tail -f /dev/null")
	code, stdout, stderr := vm.run(t, args...)
	if code != 0 {
		t.Errorf("%s: exit code %d, want 0; stdout:\n%s\nstderr:\n%s", runner, code, stdout, stderr)
	}
	t.Logf("%s:\n%s", runner, stdout)
}

func (vm onVM) jobs(t *testing.T) {
	names := vm.names(t)
	if len(names) != 2 {
		t.Fatalf("runners: %v, want 2", names)
	}
	var both sync.WaitGroup
	for _, name := range names {
		both.Go(func() { vm.job(t, name) })
	}
	both.Wait()
	for _, name := range names {
		vm.confined(t, name, "runnerctl-runner (enforce)")
	}
}

// workflows runs the suite's core with nektos/act, since the VM reaches neither a stand-in
// GitHub nor a registry: the workflows that need at most one small image.
func (vm onVM) workflows(t *testing.T, image string) {
	act := e2e.NewByAct(t, vm.run, vm.names(t)[0])
	vm.must(t, "cp", image, act.Runner+":image.tar")
	vm.must(t, "exec", act.Runner, "--", "docker", "load", "--input", "image.tar")
	for _, name := range []string{"files", "tool-cache", "buildx", "disk-full"} {
		t.Run(name, func(t *testing.T) { act.Workflow(t, name) })
	}
}

// confined checks the profile of each process of a runner, including those of its inner
// containers, and that none is the machine's root.
func (vm onVM) confined(t *testing.T, name, label string) {
	t.Helper()
	processes := vm.Run(t, `
		id=$(docker inspect -f '{{.Id}}' "$1" </dev/null)
		find "/sys/fs/cgroup/system.slice/docker-$id.scope" -name cgroup.procs -exec cat {} + | while read -r process; do
			[ ! -e "/proc/$process" ] || echo "$(stat -c %u "/proc/$process") $(tr -d '\0' <"/proc/$process/attr/current") $(cat "/proc/$process/comm")"
		done`, name)
	lines := strings.Split(processes, "\n")
	for _, line := range lines {
		if uid, rest, _ := strings.Cut(line, " "); uid == "0" || !strings.HasPrefix(rest, label+" ") {
			t.Errorf("%s: a process with %s, want no root and %s", name, line, label)
		}
	}
	if len(lines) < 6 || !strings.Contains(processes, "dockerd") || !strings.Contains(processes, "tail") {
		t.Errorf("%s: processes:\n%s\nwant 6 at least, with dockerd and tail", name, processes)
	}
}

// The rule is tested with an address that only this machine has, never with the real one.
func (vm onVM) metadata(t *testing.T) {
	const canary = "198.51.100.2"
	vm.Run(t, `
		ip netns add canary
		ip link add canary type veth peer name eth0 netns canary
		ip address add 198.51.100.1/30 dev canary
		ip link set canary up
		ip -n canary address add 198.51.100.2/30 dev eth0
		ip -n canary link set eth0 up
		ip -n canary route add default via 198.51.100.1
		systemd-run --quiet --unit canary --expand-environment=no ip netns exec canary perl -MIO::Socket::INET -e '
			my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 5) or die $!;
			while (my $client = $server->accept) { print $client "a secret\n" }'
		sleep 5`)
	const ask = `use IO::Socket::INET; my $way = IO::Socket::INET->new(PeerAddr => "` + canary + `:80", Timeout => 30) or die "no way: $!\n"; print scalar <$way>`
	runner := vm.names(t)[0]
	secret, _ := vm.must(t, "exec", runner, "--", "perl", "-e", ask)
	if secret != "a secret\n" {
		t.Fatalf("the canary says %q before the rule, want %q", secret, "a secret\n")
	}
	vm.Run(t, "runnerctl-block-metadata "+canary)
	for _, args := range [][]string{{"perl", "-e", ask}, {"docker", "run", "--rm", "runnerctl-deep", "perl", "-e", ask}} {
		if code, out, errs := vm.run(t, append([]string{"exec", runner, "--"}, args...)...); code == 0 || !strings.Contains(errs, "no way: ") || out != "" {
			t.Errorf("behind the rule: exit code %d, want a failure; stdout %q, want none; stderr:\n%s\nwant no way", code, out, errs)
		}
	}
	if got := vm.Run(t, "perl -e '"+ask+"'"); got != "a secret" {
		t.Errorf("the machine itself gets %q, want %q", got, "a secret")
	}
}

func (vm onVM) down(t *testing.T) {
	vm.must(t, "down")
	if left := vm.Run(t, "docker ps -aq; docker volume ls -q; find /sys/fs/cgroup -name 'docker-*.scope'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// A machine with AppArmor that was not prepared, or whose profile was removed.
func (vm onVM) withoutProfile(t *testing.T) {
	vm.Run(t, "apparmor_parser -R /etc/apparmor.d/runnerctl-runner")
	vm.must(t, "up", "--count", "1", "--progress", "plain")
	runner := vm.names(t)[0]
	vm.job(t, runner)
	details, _ := vm.must(t, "inspect", runner)
	if !regexp.MustCompile(`apparmor +unconfined`).MatchString(details) {
		t.Errorf("inspect:\n%s\nwant apparmor unconfined", details)
	}
	_, plan := vm.must(t, "host", "prepare", "vm", "--dry-run")
	if !strings.Contains(plan, "will load the AppArmor profile runnerctl-runner") {
		t.Errorf("host prepare:\n%s\nwant %q", plan, "will load the AppArmor profile runnerctl-runner")
	}
	vm.down(t)
}
