//go:build linux

package doctor

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine/canary"
	"github.com/runnerctl/runnerctl/internal/machine/embedded"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/templates"
)

// Each attempt succeeds in a container without any of the walls. So if a runner blocks it,
// the walls do, not a mistake in the attempt. All of this happens on a private engine, and is
// harmless by construction (scripts/escape/Escape.pm). The container does not use the runner
// image, so anything found of that image belongs to a real runner.
func TestEveryAttemptCanSucceed(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	private := enginetest.Start(t, enginetest.Options{DiskMiB: 3000})
	private.CopyImage(t, machine, tag, weakenedImage)
	given := hostCanary(t, private)
	given["disk"] = loopDevice(t)
	key, remove, err := selftest.PlaceKey(given["token"])
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	given["key"] = key

	t.Setenv("DOCKER_HOST", private.Host)
	t.Chdir(t.TempDir())
	e2e.Must(t, "up", "--progress", "quiet")
	runner := e2e.List(t, "ci")[0]
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	given["outer"] = "canary-" + rand.Text()
	given["outerfile"] = "/run/user/1001/" + given["outer"]
	around, err := selftest.PlaceCanary(runner, canary.Program, given["outer"], given["outerfile"], func(command dockerx.Command) (int, error) {
		return engine.ExecOuter(t.Context(), runner, command)
	})
	if err != nil {
		t.Fatal(err)
	}
	given["outerloopback"] = around.Loopback

	found := map[string]doctor.Attempt{}
	for _, one := range []weakened{
		{hostPID: true, script: "mknod /dev/spare c 1 8; exec perl /escape/battery -engine-socket -chroot-walk -setuid -outer-loopback"}, // random, by another name
		// If the host's processes were visible, the engine would look like a runner's own.
		{socket: strings.TrimPrefix(private.Host, "unix://"), script: "exec perl /escape/battery engine-socket"},
		// Run in a tree that is not the whole one.
		{script: "mkdir /part; cp -r /bin /lib /lib64 /usr /escape /part; mkdir /part/tmp; exec chroot /part perl /escape/battery chroot-walk"},
		// Run as another user, with a setuid file that the real root owns.
		{script: "exec setpriv --reuid 1001 --regid 1001 --clear-groups perl /escape/battery setuid"},
		{network: container.NetworkMode("container:" + runner.ContainerID), script: "exec perl /escape/battery outer-loopback"},
	} {
		for _, attempt := range one.run(t, private.API, given) {
			found[attempt.ID] = attempt
		}
	}
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	var lacking []string
	for _, wanted := range all {
		attempt, tried := found[wanted.ID]
		if reason := notOnEveryKernel[wanted.ID]; reason != "" && attempt.Verdict == doctor.NotAttempted && attempt.Reason == reason {
			lacking = append(lacking, wanted.ID+": "+reason)
			continue
		}
		if !tried || attempt.Verdict != doctor.Escaped {
			t.Errorf("%s: %s: %s", wanted.ID, attempt.Verdict, attempt.Reason)
		}
	}
	t.Logf("%d of %d attempts succeed without walls; on this kernel nobody could try\n%s", len(all)-len(lacking), len(all), strings.Join(lacking, "\n"))
}

// notOnEveryKernel lists the attempts that some kernels have no target for, with the reason.
// All other attempts must succeed on every machine.
var notOnEveryKernel = map[string]string{
	"kmsg":             "the kernel has none",
	"sysrq":            "the kernel has none",
	"kcore":            "the kernel has none",
	"module":           "the kernel has no such call",
	"module-file":      "the kernel has no such call",
	"module-removal":   "the kernel has no such call",
	"kexec":            "the kernel has no such call",
	"io-ports":         "the kernel has no such call",
	"moved-memory":     "the kernel has no such call",
	"binary-format":    "the kernel has none",
	"mount-debugfs":    "the kernel has none",
	"mount-tracefs":    "the kernel has none",
	"mount-securityfs": "the kernel has none",
	"mount-configfs":   "the kernel has none",
	"mount-devtmpfs":   "the kernel has none",
	"mount-pstore":     "the kernel has none",
	"cgroup-devices":   "control groups v2 have no such file",
	"cgroup-release":   "no root of a group is visible",
}

// weakenedImage has the programs that the attempts need, and no part of a runner.
const weakenedImage = "debian:trixie-slim"

// weakened is a container without walls.
type weakened struct {
	script  string
	hostPID bool
	network container.NetworkMode // the host's if empty
	socket  string                // socket of an engine, mounted where jobs look for one
}

func (w weakened) run(t *testing.T, api *client.Client, given map[string]string) []doctor.Attempt {
	t.Helper()
	host := &container.HostConfig{
		CapAdd: []string{"ALL"}, CapDrop: []string{"SYS_RESOURCE"}, // which not every machine can give
		SecurityOpt: []string{"seccomp=unconfined", "apparmor=unconfined"},
		MaskedPaths: []string{}, ReadonlyPaths: []string{},
		NetworkMode: cmp.Or(w.network, "host"), IpcMode: "host", CgroupnsMode: "host",
		Resources: container.Resources{DeviceCgroupRules: []string{"a *:* rwm"}},
		Mounts:    []mount.Mount{{Type: mount.TypeBind, Source: "/sys", Target: "/sys"}}, // the engine's own mount is read-only
	}
	if w.hostPID {
		host.PidMode = "host"
	}
	if w.socket != "" {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: w.socket, Target: "/var/run/docker.sock"})
	}
	config := &container.Config{
		Image: weakenedImage, User: "0:0", Entrypoint: []string{"sh", "-euc", w.script}, Cmd: []string{},
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}
	weak, err := api.ContainerCreate(t.Context(), config, host, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = api.ContainerRemove(context.Background(), weak.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	if err := api.CopyToContainer(t.Context(), weak.ID, "/", escapeArchive(t), container.CopyToContainerOptions{}); err != nil {
		t.Fatal(err)
	}
	var input strings.Builder
	for key, value := range given {
		fmt.Fprintf(&input, "%s=%s\n", key, value)
	}
	out, errs := attachAndRun(t, api, weak.ID, input.String())
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	made := slices.DeleteFunc(doctor.ReadAttempts("weakened", out, all, nil), func(one doctor.Attempt) bool { return !strings.Contains("\n"+out, "\n"+one.ID+"\t") })
	if len(made) == 0 {
		t.Fatalf("no attempt was made: %s%s", out, errs)
	}
	return made
}

func attachAndRun(t *testing.T, api *client.Client, id, input string) (stdout, stderr string) {
	t.Helper()
	attached, err := api.ContainerAttach(t.Context(), id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	if err := api.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(attached.Conn, input); err != nil {
		t.Fatal(err)
	}
	if err := attached.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, attached.Reader); err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

func escapeArchive(t *testing.T) io.Reader {
	t.Helper()
	var archived bytes.Buffer
	out := tar.NewWriter(&archived)
	if err := selftest.Pack(out, "escape"); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return &archived
}

// hostCanary places the targets of the attempts in the private engine's own namespaces.
func hostCanary(t *testing.T, engine *enginetest.Engine) map[string]string {
	t.Helper()
	token := "canary-" + rand.Text()
	config := &container.Config{
		Image: weakenedImage, User: "0:0", Env: []string{"CANARY=" + token}, OpenStdin: true,
		Entrypoint: []string{"/canary", canary.Argument, token, "/root/" + token}, Cmd: []string{},
	}
	program := e2e.InRepository("internal/machine/embedded/programs/" + embedded.Prefix + runtime.GOARCH)
	host := &container.HostConfig{
		NetworkMode: "host", IpcMode: "host",
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: program, Target: "/canary", ReadOnly: true}},
	}
	made, err := engine.API.ContainerCreate(t.Context(), config, host, nil, nil, "canary")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the canary's end removes the shared memory, which belongs to the machine
		attached, err := engine.API.ContainerAttach(context.Background(), made.ID, container.AttachOptions{Stream: true, Stdin: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer attached.Close()
		_, _ = io.WriteString(attached.Conn, "end\n")
		waited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended, failed := engine.API.ContainerWait(waited, made.ID, container.WaitConditionNotRunning)
		select {
		case <-ended:
		case err := <-failed:
			t.Error(err)
		}
	})
	if err := engine.API.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	given := map[string]string{"token": token, "neighbour": "127.0.0.1", "file": "/root/" + token}
	var port, local, key string
	e2e.Eventually(t, 20*time.Second, "the canary tells", func() bool {
		n, _ := fmt.Sscan(e2e.ContainerLog(t, engine.API, made.ID), &port, &local, &key)
		return n == 3
	})
	given["port"], given["published"], given["loopback"], given["otherloopback"], given["shm"] = port, port, local, local, key
	return given
}

// loopDevice attaches an empty read-only disk and returns its device number.
func loopDevice(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--read-only", file).Output()
	if err != nil {
		t.Fatalf("losetup: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command("losetup", "--detach", device).Run(); err != nil {
			t.Errorf("losetup --detach %s: %v", device, err)
		}
	})
	number, err := exec.Command("stat", "-c", "%Hr:%Lr", device).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(number))
}

// In a real runner, each step passes, no attempt gets out, and nothing is left.
func TestDeep(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "doctor", "--deep", "--offline", "--fleet", name, "-o", "json")
	if code != 0 {
		t.Fatalf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s", code, stdout, stderr)
	}
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Deep == nil {
		t.Fatal("nothing deep in the report")
	}
	var steps []string
	for _, step := range report.Deep.Steps {
		steps = append(steps, step.ID+" "+string(step.Status))
		if step.Status == doctor.Pass && step.Seconds <= 0 {
			t.Errorf("%s took no time", step.ID)
		}
	}
	want := "namespace pass, daemon pass, run pass, egress skip, build pass, port pass, mtu pass, storage pass, sudo pass, privileged pass, job-container pass, escape pass"
	if got := strings.Join(steps, ", "); got != want {
		t.Errorf("steps:\n%s\nwant:\n%s", got, want)
	}
	blocked := map[string]int{}
	for _, attempt := range report.Deep.Attempts {
		switch attempt.Verdict {
		case doctor.Blocked:
			blocked[attempt.As]++
		case doctor.Escaped:
			t.Errorf("as %s: %s: %s, want it blocked", attempt.As, attempt.ID, attempt.Reason)
		default:
			t.Logf("as %s: %s: %s", attempt.As, attempt.ID, attempt.Reason)
		}
	}
	for _, as := range []string{"runner", "root", "container", "privileged"} {
		if blocked[as] < 25 {
			t.Errorf("as %s only %d attempts were made, want 25 at least", as, blocked[as])
		}
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// No attempt opens a disk. Only a test can make a canary of one: a read-only loop device.
func TestNobodyOpensADisk(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	hand := byHand{api: api, engine: engine}
	if said := hand.steps(t, selftest.Pair{Tried: runner}, "run"); said != "" { // builds the inner image
		t.Fatalf("the step run says %s, want nothing", said)
	}
	if err := engine.Send(t.Context(), runner, selftest.Folder, templates.Outer(templates.RunnerID), selftest.Pack); err != nil {
		t.Fatal(err)
	}
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	disk := slices.DeleteFunc(all, func(one doctor.Attempt) bool { return one.ID != "host-disk" })
	given := map[string]string{"disk": loopDevice(t)}
	for _, one := range selftest.Attackers(true) {
		if battery := selftest.Try(t.Context(), engine, runner, selftest.Attack{Attacker: one, Given: given, Attempts: disk}); battery.Err != nil || battery.Attempts[0].Verdict != doctor.Blocked {
			t.Errorf("got %+v, want it %s", battery, doctor.Blocked)
		}
	}
}

func TestInterruptedDeepLeavesNothing(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	for _, after := range []time.Duration{500, 4000} {
		e2e.InterruptedLeavesNothing(t, api, after*time.Millisecond, func(name string) []string { return []string{"doctor", "--deep", "--offline", "--fleet", name} })
	}
}
