//go:build linux && long

package lifecycle

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/advice"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// When the engine is killed and started again while three runners run, they come back by
// themselves with their daemons. Then the engine's disk is filled.
func TestEngineRestartedAndDiskFull(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 3000, From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", engine.Host)
	e2e.Must(t, "up", "--count", "3", "--progress", "quiet")
	before := e2e.List(t, "ci")
	e2e.Must(t, "exec", before[0].Name, "--", "sh", "-c", "echo here >kept && docker volume create kept")

	e2e.Step(t, "runners come back with a killed engine", func(t *testing.T) { runnersComeBack(t, engine, before) })
	e2e.Step(t, "a job fills its daemon's data", func(t *testing.T) { jobFillsTheDisk(t, engine, before) })
	e2e.Step(t, "there is no room for the start of a runner", func(t *testing.T) { noRoomForAStart(t, engine) })
	t.Run("there is no room for a build", func(t *testing.T) {
		empty := engine.Fill(t, 60)
		err := e2e.BuildImage(t, engine.API, "runnerctl-test/disk:full", "FROM debian:trixie-slim\nRUN head -c 200M /dev/zero >/big\n")
		var failure *dockerx.BuildError
		if !errors.As(err, &failure) || !strings.HasPrefix(failure.Cause(), "[2/2] RUN head") || !strings.Contains(hint.Of(advice.Add(err)), "the engine's disk is full") {
			t.Errorf("build: %v, %+v, hint %q, want the step [2/2] RUN head and the hint %q", err, failure, hint.Of(advice.Add(err)), "the engine's disk is full")
		}
		empty()
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		e2e.Must(t, "down")
		if left := e2e.Leftovers(t, engine.API, "ci"); len(left) > 0 {
			t.Errorf("left behind: %v, want nothing", left)
		}
	})
}

// dockerd and the jobs use the same iptables, the variant that works on this kernel.
func TestIptablesOfTheKernel(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	inside := func(script string) string { return asRoot(t, runner.Name, script) }
	const restore = "/usr/sbin/iptables-legacy-restore"
	chosen := inside("iptables --version")
	for _, one := range []struct{ change, want string }{
		{"mv " + restore + " /root && ln -s /bin/false " + restore, "(nf_tables)"},
		{"mv /root/iptables-legacy-restore " + restore, chosen},
	} {
		inside(one.change)
		if err := api.ContainerRestart(t.Context(), runner.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		e2e.Eventually(t, time.Minute, "ready again", func() bool { return e2e.List(t, name)[0].Ready })
		if got := inside("iptables --version && iptables -t nat -S DOCKER"); !strings.Contains(got, one.want) {
			t.Errorf("after %s: %s, want %s", one.change, got, one.want)
		}
	}
}

func runnersComeBack(t *testing.T, engine *enginetest.Engine, before []fleet.Runner) {
	engine.Kill()
	engine.Run(t)
	var after []fleet.Runner
	e2e.Eventually(t, 2*time.Minute, "three runners are back", func() bool {
		after = e2e.List(t, "ci")
		ready := 0
		for _, runner := range after {
			if runner.Ready {
				ready++
			}
		}
		return ready == 3
	})
	if got, want := strings.Join(e2e.IDs(after), " "), strings.Join(e2e.IDs(before), " "); got != want {
		t.Errorf("runners: %s, want %s", got, want)
	}
	if kept := e2e.Must(t, "exec", before[0].Name, "--", "sh", "-c", "cat kept; docker volume ls -q"); kept != "here\nkept\n" {
		t.Errorf("kept: %q, want %q", kept, "here\nkept\n")
	}
	if plan := e2e.Must(t, "up", "--count", "3", "--dry-run"); strings.Count(plan, "keep") != 3 {
		t.Errorf("plan:\n%s\nwant 3 runners kept", plan)
	}
}

// jobFillsTheDisk lets a job fill its daemon's data: the job gets a clear error, ps shows the
// full disk, and the other runners live.
func jobFillsTheDisk(t *testing.T, engine *enginetest.Engine, before []fleet.Runner) {
	empty := engine.Fill(t, 4)
	code, _, stderr := e2e.Runnerctl(t.Context(), "exec", before[0].Name, "--", "sh", "-c", "head -c 64M /dev/zero | docker import - big")
	if code == 0 || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("import: exit code %d, want another than 0; stderr:\n%s\nwant %q", code, stderr, "no space left on device")
	}
	table := e2e.Must(t, "ps")
	if strings.Count(table, "ready, disk full") != 3 { // here all runners share one disk
		t.Errorf("ps:\n%s\nwant 3 lines with %q", table, "ready, disk full")
	}
	e2e.Must(t, "exec", before[1].Name, "--", "docker", "ps")
	diskIsFull(t, "no space left on device", "up", "--count", "4", "--progress", "quiet")
	if runners := e2e.List(t, "ci"); len(runners) != 3 {
		t.Errorf("%d runners after the failed up, want 3", len(runners))
	}
	diskIsFull(t, "no space left on device", "build", "--no-cache", "--progress", "quiet")
	empty()
}

// diskIsFull fails unless a command fails for the full disk of the engine, with these words
// too. It returns the command's stderr.
func diskIsFull(t *testing.T, words string, args ...string) string {
	t.Helper()
	code, _, stderr := e2e.Runnerctl(t.Context(), args...)
	if code != commands.ExitFailure || !strings.Contains(stderr, words) || !strings.Contains(stderr, "no space left on device") || !strings.Contains(stderr, "the engine's disk is full") {
		t.Errorf("%v: exit code %d, want %d; stderr:\n%s\nwant %q, no space left on device, and the hint that the engine's disk is full", args, code, commands.ExitFailure, stderr, words)
	}
	return stderr
}

// noRoomForAStart leaves room for a lock and containers, but not for their start. (16 MiB are
// ext4's own reserve.)
func noRoomForAStart(t *testing.T, engine *enginetest.Engine) {
	empty := engine.Fill(t, 18)
	stderr := diskIsFull(t, "the inner Docker daemon is not up after", "up", "--count", "8", "--progress", "quiet")
	runners := e2e.List(t, "ci")
	if len(runners) < 3 || len(runners) > 7 || strings.Count(stderr, "✔ ci-") != len(runners) {
		t.Errorf("%d runners, want 3 to 7, each of them in stderr:\n%s", len(runners), stderr)
	}
	empty()
}

// When a runner starts again, a job may have changed the machine's files: none of them runs
// while the outer tree is still there, and no link leads out.
func TestStartAfterAJobChangedItsMachine(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	inside := func(script string) string { return asRoot(t, runner.Name, script) }
	restart := func() {
		if err := api.ContainerRestart(t.Context(), runner.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	inside(`for tool in mount umount pivot_root cp perl; do
		at=$(command -v $tool) && mv $at $at.real
		printf '#!/bin/sh\nif [ -e /rootfs ] || [ -e /sys-rw ]; then echo $0 >>/root/seen; fi\nexec $0.real "$@"\n' >$at && chmod +x $at
	done`)
	restart()
	e2e.Eventually(t, time.Minute, "ready again", func() bool { return e2e.List(t, name)[0].Ready })
	if seen := inside("cat /root/seen 2>/dev/null; true"); seen != "" {
		t.Errorf("the job's own programs saw the outer tree: %s", seen)
	}

	inside("mv /etc /other && ln -s /usr/lib/runnerctl /etc")
	restart()
	e2e.Eventually(t, time.Minute, "the start is refused", func() bool {
		return strings.Contains(e2e.ContainerLog(t, api, runner.ContainerID), "start: /etc is a link: a job changed this runner")
	})
	e2e.Must(t, e2e.Up(name)...)
	if left := e2e.List(t, name); len(left) != 1 || left[0].Name == runner.Name {
		t.Errorf("up left %+v, want one runner other than %s", left, runner.Name)
	}
}

// On an engine whose bridge has one address, the first runner lives and the error names why
// the second can't.
func TestAddressPoolUsedUp(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 2000, Args: []string{"--bip", "10.99.0.1/30"}, From: machine, Images: []string{tag, "debian:trixie-slim"}})
	t.Setenv("DOCKER_HOST", engine.Host)
	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--count", "2", "--progress", "quiet")
	if code != commands.ExitFailure || !strings.Contains(stderr, "no available IPv4 addresses") || !strings.Contains(stderr, "a larger \"bip\"") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "no available IPv4 addresses", "a larger \"bip\"")
	}
	if runners := e2e.List(t, "ci"); len(runners) != 1 || !runners[0].Ready {
		t.Errorf("left: %+v", runners)
	}
	e2e.Must(t, "down")
	if left := e2e.Leftovers(t, engine.API, "ci"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A lock whose holder died before starting it is removed in the end.
func TestStaleLock(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	labels := map[string]string{"dev.runnerctl.fleet": name, "dev.runnerctl.role": "lock", "dev.runnerctl.schema": "1"}
	if _, err := api.ContainerCreate(t.Context(), &container.Config{Image: tag, Labels: labels}, nil, nil, nil, "runnerctl-lock-"+name); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name)...)
	if code != 0 || !strings.Contains(stderr, "is being changed by another runnerctl") {
		t.Errorf("exit code %d, want 0; stderr:\n%s\nwant %q", code, stderr, "is being changed by another runnerctl")
	}
}
