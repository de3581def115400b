package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// realEngine connects to this machine's own engine. Tests touch only containers of the fleet
// names that they make up. In CI, a missing engine is a failure.
func realEngine(t *testing.T) *client.Client {
	t.Helper()
	return enginetest.Own(t)
}

// runnerctl runs a command line in this process, with empty standard input.
func runnerctl(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	streams := ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	code = run(ctx, session.Session{Streams: streams, Env: os.Getenv, GOOS: runtime.GOOS}, append([]string{"runnerctl"}, args...))
	return code, out.String(), errs.String()
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := runnerctl(t.Context(), args...)
	if code != 0 {
		t.Fatalf("runnerctl %s: exit code %d, want 0\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// step runs a subtest on which later ones build: if it fails, the test ends.
func step(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, test) {
		t.FailNow()
	}
}

// newFleet makes up a fleet name for this test and removes the fleet at the test's end.
func newFleet(t *testing.T, api *client.Client) string {
	t.Helper()
	t.Chdir(t.TempDir())
	name := fleet.NewName("t", map[string]bool{})
	t.Cleanup(func() {
		if code, _, stderr := runnerctl(context.Background(), "down", "--fleet", name); code != 0 {
			t.Errorf("down: exit code %d, want 0: %s", code, stderr)
		}
		if left := leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return name
}

func leftovers(t *testing.T, api *client.Client, name string) (left []string) {
	t.Helper()
	ours := filters.NewArgs(filters.Arg("label", "dev.runnerctl.fleet="+name))
	containers, err := api.ContainerList(context.Background(), container.ListOptions{All: true, Filters: ours})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range containers {
		left = append(left, one.Names...)
	}
	volumes, err := api.VolumeList(context.Background(), volume.ListOptions{Filters: ours})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range volumes.Volumes {
		left = append(left, one.Name)
	}
	return left
}

// processesOf lists the control group files (/proc/PID/cgroup) of the machine's processes
// that run in one of the containers.
func processesOf(t *testing.T, containers []string) (left []string) {
	t.Helper()
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range groups {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended
		}
		for _, id := range containers {
			if bytes.Contains(text, []byte(id)) {
				left = append(left, path)
			}
		}
	}
	return left
}

// removeImage removes an image that the test made.
func removeImage(t *testing.T, api *client.Client, reference string) {
	t.Helper()
	if _, err := api.ImageRemove(context.Background(), reference, image.RemoveOptions{Force: true}); err != nil && !cerrdefs.IsNotFound(err) {
		t.Error(err)
	}
}

func up(name string, args ...string) []string {
	return append([]string{"up", "--fleet", name, "--bootstrap-base", "--progress", "plain"}, args...)
}

func list(t *testing.T, name string) (runners []fleet.Runner) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, "ps", "--fleet", name, "-o", "json")), &runners); err != nil {
		t.Fatal(err)
	}
	return runners
}

func ids(runners []fleet.Runner) (all []string) {
	for _, runner := range runners {
		all = append(all, runner.ContainerID)
	}
	slices.Sort(all)
	return all
}

// A fleet of three runners keeps the security model and gives its jobs a Docker of their own.
// The runners survive a second up, and none is left after down.
func TestFleet(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, up(name, "--count", "3")...)
	first := list(t, name)
	if len(first) != 3 {
		t.Fatalf("up --count 3 made %d runners, want 3", len(first))
	}
	runner := first[0].Name

	t.Run("the runners are ready and keep the security model", func(t *testing.T) {
		for _, runner := range first {
			if !runner.Ready || runner.DockerVersion == "" || runner.Memory != 4<<30 {
				t.Errorf("got %+v, want a ready runner with a Docker version and 4 GiB of memory", runner)
			}
			inspectSecurity(t, api, runner)
		}
	})
	step(t, "a second up changes nothing", func(t *testing.T) {
		must(t, up(name, "--count", "3")...)
		if got := ids(list(t, name)); !slices.Equal(got, ids(first)) {
			t.Errorf("a second up changed the fleet: got %v, want %v", got, ids(first))
		}
	})
	t.Run("a job sees its own machine", func(t *testing.T) { jobSeesItsMachine(t, runner) })
	step(t, "an idle runner stops at once with exit code 0", func(t *testing.T) { idleRunnerStops(t, api, runner) })
	step(t, "up replaces a stopped runner and removes surplus ones", func(t *testing.T) {
		// The stopped runner no longer counts; the other two stay.
		if plan := must(t, up(name, "--count", "3", "--dry-run")...); strings.Count(plan, "keep") != 2 || strings.Count(plan, "create") != 1 || strings.Count(plan, "remove  "+runner) != 1 {
			t.Errorf("plan:\n%s\nwant 2 kept, 1 created, %s removed", plan, runner)
		}
		must(t, up(name, "--count", "1")...)
		if left := list(t, name); len(left) != 1 || left[0].Name == runner {
			t.Errorf("after up --count 1: %+v, want one runner other than %s", left, runner)
		}
	})
	t.Run("down leaves no process", func(t *testing.T) {
		must(t, "down", "--fleet", name)
		if left := processesOf(t, ids(first)); len(left) > 0 {
			t.Errorf("processes left behind: %v, want none", left)
		}
	})
}

// jobSeesItsMachine runs commands of a job in an idle runner.
func jobSeesItsMachine(t *testing.T, runner string) {
	inside := func(script string) string {
		return strings.TrimSpace(must(t, "exec", runner, "--", "sh", "-c", script))
	}
	for script, want := range map[string]string{
		"id -un; pwd; echo $HOME": "runner\n/home/runner\n/home/runner",
		"sudo id -u":              "0",
		"stat -c %U /etc/shadow":  "root",
		"docker ps -q | wc -l":    "0",
		"ls -d /rootfs /sys-rw 2>&1 | grep -vc 'No such file'; true":                                               "0",
		"sh -c 'cat /proc/sys/kernel/core_pattern | sudo tee /proc/sys/kernel/core_pattern' 2>&1 >/dev/null; true": "tee: /proc/sys/kernel/core_pattern: Permission denied",
		"df -k --output=size /dev/shm | tail -1":                                                                   "1048576",
		// The outer tree, where /proc/1 was started, is not visible.
		"sudo ls /proc/1/root/usr/lib/runnerctl/start /proc/1/cwd/usr/lib/runnerctl/start 2>&1 | grep -c 'No such file'":                 "2",
		"sudo sh -c 'ls -d /proc/[0-9]*/fd/*/' 2>/dev/null | while read -r d; do sudo ls $d/rootfs $d/../rootfs 2>/dev/null; done; true": "",
	} {
		if got := inside(script); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	for line := range strings.Lines(inside("cat /proc/self/uid_map")) {
		var in, out, length int
		if _, err := fmt.Sscan(line, &in, &out, &length); err != nil || out == 0 {
			t.Errorf("uid_map %q, want three numbers, the second not 0 (%v)", line, err)
		}
	}
	if code, _, _ := runnerctl(t.Context(), "exec", runner, "--", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exec passed on %d, want 7", code)
	}
}

// idleRunnerStops stops an idle runner.
func idleRunnerStops(t *testing.T, api *client.Client, runner string) {
	must(t, "exec", runner, "--", "sh", "-c", "touch kept")
	started := time.Now()
	if err := api.ContainerStop(t.Context(), runner, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > 6*time.Second {
		t.Errorf("stop took %s, want at most 6s", took)
	}
	stopped, err := api.ContainerInspect(t.Context(), runner)
	if err != nil {
		t.Fatal(err)
	}
	if stopped.State.ExitCode != 0 {
		t.Errorf("stop: exit code %d, want 0", stopped.State.ExitCode)
	}
}

// up removes surplus runners that are idle, not a busy one.
func TestBusyRunnerStays(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, up(name, "--count", "2")...)
	runners := list(t, name)
	slices.SortFunc(runners, func(a, b fleet.Runner) int { return b.Created.Compare(a.Created) })
	youngest := runners[0].Name // it would be removed if it were idle
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runnerctl(ctx, "exec", youngest, "--", "sleep", "60")
	}()
	defer func() {
		cancel()
		<-ended
	}()
	limit := time.Now().Add(20 * time.Second)
	for busy := false; !busy; {
		if time.Now().After(limit) {
			t.Fatalf("%s is not busy: %+v", youngest, list(t, name))
		}
		for _, runner := range list(t, name) {
			busy = busy || runner.Busy && runner.Name == youngest
		}
	}
	must(t, up(name, "--count", "1")...)
	if left := list(t, name); len(left) != 1 || left[0].Name != youngest {
		t.Errorf("%s was at work, left is %+v, want it alone", youngest, left)
	}
}

func TestPasta(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	if err := os.WriteFile("runnerctl.yaml", []byte("network:\n  driver: pasta\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, up(name)...)
	runner := list(t, name)[0].Name
	must(t, "exec", runner, "--", "sudo", "apt-get", "update", "-qq")
	must(t, "exec", runner, "--", "sh", "-c", "docker network create app && docker network rm app")
}

// Objects of a newer runnerctl are left alone, and a hint says so.
func TestNewerSchema(t *testing.T) {
	api := realEngine(t)
	tag := runnerImage(t)
	name := fleet.NewName("t", map[string]bool{})
	labels := map[string]string{"dev.runnerctl.fleet": name, "dev.runnerctl.role": "runner", "dev.runnerctl.schema": "2"}
	made, err := api.ContainerCreate(t.Context(), &container.Config{Image: tag, Labels: labels}, nil, nil, nil, name+"-aaaa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	})
	for _, command := range [][]string{{"ps", "--fleet", name}, {"down", "--fleet", name}, up(name)} {
		code, _, stderr := runnerctl(t.Context(), command...)
		if code != exitFailure || !strings.Contains(stderr, "was created by a newer runnerctl") || !strings.Contains(stderr, "hint") {
			t.Errorf("%v: exit code %d, want %d; stderr:\n%s\nwant %q and %q", command, code, exitFailure, stderr, "was created by a newer runnerctl", "hint")
		}
	}
	if _, err := api.ContainerInspect(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
}

// inspectSecurity compares the container that the engine made with the security model.
func inspectSecurity(t *testing.T, api *client.Client, runner fleet.Runner) {
	t.Helper()
	info, err := api.ContainerInspect(t.Context(), runner.ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	host := info.HostConfig
	if host.Privileged || !slices.Equal(host.CapDrop, []string{"ALL"}) || len(host.CapAdd) != 2 {
		t.Errorf("privileged %v, capabilities +%v -%v, want not privileged, +SETUID +SETGID, -ALL", host.Privileged, host.CapAdd, host.CapDrop)
	}
	for _, capability := range host.CapAdd {
		if name := strings.TrimPrefix(capability, "CAP_"); name != "SETUID" && name != "SETGID" {
			t.Errorf("capability %s, want SETUID or SETGID", capability)
		}
	}
	if len(host.Devices) != 1 || host.Devices[0].PathOnHost != "/dev/net/tun" {
		t.Errorf("devices %v, want /dev/net/tun alone", host.Devices)
	}
	for _, mount := range info.Mounts {
		if mount.Type == "bind" && mount.Source != "/sys" {
			t.Errorf("host path %s, want /sys alone", mount.Source)
		}
	}
	if !strings.HasPrefix(host.SecurityOpt[0], "seccomp={") {
		t.Errorf("security option %.40q, want %q at the beginning", host.SecurityOpt[0], "seccomp={")
	}
	if host.Memory == 0 || host.NanoCPUs == 0 || host.PidsLimit == nil || *host.PidsLimit == 0 {
		t.Errorf("memory %d, CPUs %d, want limits of both, and of processes", host.Memory, host.NanoCPUs)
	}
	if host.NetworkMode.IsHost() || host.PidMode.IsHost() || host.IpcMode.IsHost() {
		t.Errorf("namespaces: network %q, pid %q, ipc %q, want none of the host's", host.NetworkMode, host.PidMode, host.IpcMode)
	}
	top, err := api.ContainerTop(t.Context(), runner.ContainerID, []string{"-eo", "uid,pid,comm"})
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range top.Processes {
		if process[0] == "0" {
			t.Errorf("%v is uid 0 on the host", process)
		}
	}
}

func TestTwoUpsMakeOneFleet(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, "build", "--bootstrap-base", "--progress", "plain")
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if code, _, stderr := runnerctl(t.Context(), up(name, "--count", "2")...); code != 0 {
				t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
			}
		})
	}
	group.Wait()
	if runners := list(t, name); len(runners) != 2 {
		t.Errorf("%d runners, want 2", len(runners))
	}
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	api := realEngine(t)
	must(t, "build", "--bootstrap-base", "--progress", "plain")
	for _, after := range []time.Duration{50, 200, 500, 800} {
		t.Run((after * time.Millisecond).String(), func(t *testing.T) {
			interruptedLeavesNothing(t, api, after*time.Millisecond, func(name string) []string { return up(name, "--count", "2") })
		})
	}
}

// interruptedLeavesNothing runs a command line and interrupts it after the given time. If the
// command finishes earlier, as on a quick machine, it is run again and interrupted sooner.
func interruptedLeavesNothing(t *testing.T, api *client.Client, after time.Duration, line func(name string) []string) {
	t.Helper()
	for {
		name := newFleet(t, api)
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := time.Now()
		timer := time.AfterFunc(after, func() { cancel(errInterrupted) })
		code, _, stderr := runnerctl(ctx, line(name)...)
		timer.Stop()
		if code == 0 && time.Since(begun) < after+50*time.Millisecond {
			after /= 2
			continue
		}
		if code != exitInterrupted {
			t.Errorf("after %s: code %d, want %d: %s", after, code, exitInterrupted, stderr)
		}
		if left := leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return
	}
}

func TestFailingRunnerTellsWhyAndLeavesNothing(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	code, _, stderr := runnerctl(t.Context(), up(name, "--timeout", "1ms")...)
	if code != exitFailure || !strings.Contains(stderr, "the inner Docker daemon is not up after ") || !strings.Contains(stderr, "hint") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, exitFailure, stderr, "the inner Docker daemon is not up after ", "hint")
	}
	if left := leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
