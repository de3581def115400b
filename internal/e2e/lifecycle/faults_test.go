//go:build linux

package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/advice"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
)

// When a runner is killed or removed while up waits for it, up reports it and cleans up, and
// the other runner stays.
func TestRunnerKilledWhileUpWaits(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	const killed, removed = "its container ended with exit code 137", "its container was removed"
	for how, test := range map[string]struct {
		end  func(id string) error
		want []string
	}{
		"killed": {func(id string) error { return api.ContainerKill(context.Background(), id, "KILL") }, []string{killed}},
		"removed": {func(id string) error {
			return api.ContainerRemove(context.Background(), id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		}, []string{killed, removed}}, // the engine kills it first
	} {
		t.Run(how, func(t *testing.T) {
			name := e2e.NewFleet(t, api)
			ended := make(chan string, 1)
			go func() {
				for {
					if list := leftoverRunners(api, name); len(list) > 0 && test.end(list[0]) == nil {
						ended <- list[0]
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
			code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--count", "2")...)
			if code != commands.ExitFailure || !slices.ContainsFunc(test.want, func(want string) bool { return strings.Contains(stderr, want) }) {
				t.Errorf("exit code %d, want %d; stderr:\n%s\nwant one of %q", code, commands.ExitFailure, stderr, test.want)
			}
			gone := <-ended
			if runners := e2e.List(t, name); len(runners) != 1 || !runners[0].Ready || runners[0].ContainerID == gone {
				t.Errorf("left: %+v", runners)
			}
		})
	}
}

func leftoverRunners(api *client.Client, name string) (ids []string) {
	list, err := api.ContainerList(context.Background(), container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", "dev.runnerctl.fleet="+name), filters.Arg("label", "dev.runnerctl.role=runner"))})
	if err != nil {
		return nil
	}
	for _, one := range list {
		ids = append(ids, one.ID)
	}
	return ids
}

// When the inner daemons die, they are started again and ps shows it. A daemon that keeps
// dying ends the runner, with the daemon's last lines.
func TestInnerDaemonsKilled(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	inside := func(script string) { e2e.Must(t, "exec", "--root", runner.Name, "--", "sh", "-c", script) }
	for i, daemon := range []string{"containerd", "dockerd"} {
		inside("pkill -9 -x " + daemon)
		e2e.Eventually(t, 30*time.Second, daemon+" is back", func() bool {
			now := e2e.List(t, name)[0]
			return now.Ready && now.Restarts == i+1
		})
		inside("docker network create again && docker network rm again")
	}
	if table := e2e.Must(t, "ps", "--fleet", name); !strings.Contains(table, "ready, daemon restarted 2×") {
		t.Errorf("ps:\n%s\nwant %q", table, "ready, daemon restarted 2×")
	}

	inside("chmod a-x /usr/sbin/dockerd && pkill -9 -x dockerd")
	e2e.Eventually(t, 60*time.Second, "the runner ends", func() bool {
		info, err := api.ContainerInspect(t.Context(), runner.ContainerID)
		return err == nil && info.RestartCount > 0
	})
	for _, want := range []string{"start: dockerd ended by itself with code 12", "start: dockerd died 5 times in a row: giving up"} {
		if log := e2e.ContainerLog(t, api, runner.ContainerID); !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if now := e2e.List(t, name)[0]; now.Ready || now.Revivals == 0 {
		t.Errorf("got %+v, want it started again, and not ready", now)
	}
	if table := e2e.Must(t, "ps", "--fleet", name); !strings.Contains(table, ", started again ") {
		t.Errorf("ps:\n%s\nwant %q", table, ", started again ")
	}
	e2e.Must(t, e2e.Up(name)...)
	if runners := e2e.List(t, name); len(runners) != 1 || runners[0].Name == runner.Name || !runners[0].Ready {
		t.Errorf("up left %+v, want one ready runner other than %s", runners, runner.Name)
	}
}

// When a runner starts again, a job may have changed the machine's files: none of them runs
// while the outer tree is still there, and no link leads out.
func TestStartAfterAJobChangedItsMachine(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	inside := func(script string) string {
		return e2e.Must(t, "exec", "--root", runner.Name, "--", "sh", "-c", script)
	}
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

// dockerd and the jobs use the same iptables, the variant that works on this kernel.
func TestIptablesOfTheKernel(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	inside := func(script string) string {
		return e2e.Must(t, "exec", "--root", runner.Name, "--", "sh", "-c", script)
	}
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

func TestPausedRunner(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	pause := func(id string) {
		if err := api.ContainerPause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	pause(runner.ContainerID)
	if table := e2e.Must(t, "ps", "--fleet", name); !strings.Contains(table, "paused") {
		t.Errorf("ps:\n%s\nwant %q", table, "paused")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "exec", runner.Name, "--", "true"); code != commands.ExitFailure || !strings.Contains(stderr, "is paused") || !strings.Contains(stderr, "hint   docker unpause "+runner.Name) {
		t.Errorf("exec: exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "is paused", "hint   docker unpause "+runner.Name)
	}
	e2e.Must(t, e2e.Up(name)...)
	replaced := e2e.List(t, name)
	if len(replaced) != 1 || replaced[0].Name == runner.Name || !replaced[0].Ready {
		t.Fatalf("up left %+v, want one ready runner other than %s", replaced, runner.Name)
	}
	pause(replaced[0].ContainerID)
	e2e.Must(t, "down", "--fleet", name)
}

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
