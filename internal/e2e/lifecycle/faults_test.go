//go:build linux

package lifecycle

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
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
	inside := func(script string) { asRoot(t, runner.Name, script) }
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

// asRoot runs a script as root of a runner's machine and returns its output.
func asRoot(t *testing.T, runner, script string) string {
	t.Helper()
	return e2e.Must(t, "exec", "--root", runner, "--", "sh", "-c", script)
}
