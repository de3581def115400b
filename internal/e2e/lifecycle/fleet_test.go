//go:build linux

package lifecycle

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// A fleet of three runners keeps the security model and gives its jobs a Docker of their own.
// The runners survive a second up, and none is left after down.
func TestFleet(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name, "--count", "3")...)
	first := e2e.List(t, name)
	if len(first) != 3 {
		t.Fatalf("up --count 3 made %d runners, want 3", len(first))
	}
	runner := first[0].Name

	t.Run("the runners are ready and keep the security model", func(t *testing.T) {
		for _, runner := range first {
			if !runner.Ready || runner.DockerVersion == "" || runner.Memory != 4<<30 {
				t.Errorf("got %+v, want a ready runner with a Docker version and 4 GiB of memory", runner)
			}
			e2e.InspectSecurity(t, api, runner)
		}
	})
	e2e.Step(t, "a second up changes nothing", func(t *testing.T) {
		e2e.Must(t, e2e.Up(name, "--count", "3")...)
		if got := e2e.IDs(e2e.List(t, name)); !slices.Equal(got, e2e.IDs(first)) {
			t.Errorf("a second up changed the fleet: got %v, want %v", got, e2e.IDs(first))
		}
	})
	t.Run("a job sees its own machine", func(t *testing.T) { jobSeesItsMachine(t, runner) })
	e2e.Step(t, "an idle runner stops at once with exit code 0", func(t *testing.T) { idleRunnerStops(t, api, runner) })
	e2e.Step(t, "up replaces a stopped runner and removes surplus ones", func(t *testing.T) {
		// The stopped runner no longer counts; the other two stay.
		if plan := e2e.Must(t, e2e.Up(name, "--count", "3", "--dry-run")...); strings.Count(plan, "keep") != 2 || strings.Count(plan, "create") != 1 || strings.Count(plan, "remove  "+runner) != 1 {
			t.Errorf("plan:\n%s\nwant 2 kept, 1 created, %s removed", plan, runner)
		}
		e2e.Must(t, e2e.Up(name, "--count", "1")...)
		if left := e2e.List(t, name); len(left) != 1 || left[0].Name == runner {
			t.Errorf("after up --count 1: %+v, want one runner other than %s", left, runner)
		}
	})
	t.Run("down leaves no process", func(t *testing.T) {
		e2e.Must(t, "down", "--fleet", name)
		if left := e2e.ProcessesOf(t, e2e.IDs(first)); len(left) > 0 {
			t.Errorf("processes left behind: %v, want none", left)
		}
	})
}

// jobSeesItsMachine runs commands of a job in an idle runner.
func jobSeesItsMachine(t *testing.T, runner string) {
	inside := func(script string) string {
		return strings.TrimSpace(e2e.Must(t, "exec", runner, "--", "sh", "-c", script))
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
		"sudo ls /proc/1/root/usr/lib/runnerctl/machine /proc/1/cwd/usr/lib/runnerctl/machine 2>&1 | grep -c 'No such file'":             "2",
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
	if code, _, _ := e2e.Runnerctl(t.Context(), "exec", runner, "--", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exec passed on %d, want 7", code)
	}
}

// idleRunnerStops stops an idle runner.
func idleRunnerStops(t *testing.T, api *client.Client, runner string) {
	e2e.Must(t, "exec", runner, "--", "sh", "-c", "touch kept")
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
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name, "--count", "2")...)
	runners := e2e.List(t, name)
	slices.SortFunc(runners, func(a, b fleet.Runner) int { return b.Created.Compare(a.Created) })
	youngest := runners[0].Name // it would be removed if it were idle
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e2e.Runnerctl(ctx, "exec", youngest, "--", "sleep", "60")
	}()
	defer func() {
		cancel()
		<-ended
	}()
	limit := time.Now().Add(20 * time.Second)
	for busy := false; !busy; {
		if time.Now().After(limit) {
			t.Fatalf("%s is not busy: %+v", youngest, e2e.List(t, name))
		}
		for _, runner := range e2e.List(t, name) {
			busy = busy || runner.Busy && runner.Name == youngest
		}
	}
	e2e.Must(t, e2e.Up(name, "--count", "1")...)
	if left := e2e.List(t, name); len(left) != 1 || left[0].Name != youngest {
		t.Errorf("%s was at work, left is %+v, want it alone", youngest, left)
	}
}

func TestPasta(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	if err := os.WriteFile("runnerctl.yaml", []byte("network:\n  driver: pasta\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name
	e2e.Must(t, "exec", runner, "--", "sudo", "apt-get", "update", "-qq")
	e2e.Must(t, "exec", runner, "--", "sh", "-c", "docker network create app && docker network rm app")
}

// Objects of a newer runnerctl are left alone, and a hint says so.
func TestNewerSchema(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	name := fleet.NewName("t", map[string]bool{})
	labels := map[string]string{"dev.runnerctl.fleet": name, "dev.runnerctl.role": "runner", "dev.runnerctl.schema": "3"}
	made, err := api.ContainerCreate(t.Context(), &container.Config{Image: tag, Labels: labels}, nil, nil, nil, name+"-aaaa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	})
	for _, command := range [][]string{{"ps", "--fleet", name}, {"down", "--fleet", name}, e2e.Up(name)} {
		code, _, stderr := e2e.Runnerctl(t.Context(), command...)
		if code != commands.ExitFailure || !strings.Contains(stderr, "was created by a newer runnerctl") || !strings.Contains(stderr, "hint") {
			t.Errorf("%v: exit code %d, want %d; stderr:\n%s\nwant %q and %q", command, code, commands.ExitFailure, stderr, "was created by a newer runnerctl", "hint")
		}
	}
	if _, err := api.ContainerInspect(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
}

func TestTwoUpsMakeOneFleet(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "plain")
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--count", "2")...); code != 0 {
				t.Errorf("exit code %d, want 0; stderr:\n%s", code, stderr)
			}
		})
	}
	group.Wait()
	if runners := e2e.List(t, name); len(runners) != 2 {
		t.Errorf("%d runners, want 2", len(runners))
	}
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	api := e2e.Engine(t)
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "plain")
	for _, after := range []time.Duration{50, 200, 500, 800} {
		t.Run((after * time.Millisecond).String(), func(t *testing.T) {
			e2e.InterruptedLeavesNothing(t, api, after*time.Millisecond, func(name string) []string { return e2e.Up(name, "--count", "2") })
		})
	}
}

func TestFailingRunnerTellsWhyAndLeavesNothing(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--timeout", "1ms")...)
	if code != commands.ExitFailure || !strings.Contains(stderr, "the inner Docker daemon is not up after ") || !strings.Contains(stderr, "hint") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "the inner Docker daemon is not up after ", "hint")
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
