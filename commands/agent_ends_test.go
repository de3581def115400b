//go:build linux

package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// Code 2 of the listener asks for another start, and no end of such starts makes a
// runner that does nothing else.
func TestAgentStartsAgainAfterCode2(t *testing.T) {
	f := newAgentFleet(t, nil)
	hopeless := f.create(jitAgent, jitConfig(t, "exit 2"))
	recovers := f.create(jitAgent, jitConfig(t, "[ ! -e /tmp/again ] || exit 0; touch /tmp/again; exit 2"))
	stopped := f.create(jitAgent, jitConfig(t, "exit 2"))
	listens(t, f.api, stopped.ContainerID, 1)
	if err := f.api.ContainerStop(t.Context(), stopped.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		runner       fleet.Runner
		code, starts int
	}{{hopeless, 2, 5}, {recovers, 0, 2}, {stopped, 0, 1}} {
		code, log := f.ended(test.runner)
		if got := strings.Count(log, "agent: Listening for Jobs"); code != test.code || got != test.starts {
			t.Errorf("code %d after %d starts, want %d after %d:\n%s", code, got, test.code, test.starts, log)
		}
	}
}

// What the listener writes at GitHub's wish is kept over a restart with its other
// files. A registration that GitHub has deleted is not put back: the runner ends with a
// code of its own, and says what helps.
func TestAgentWhoseRegistrationChanges(t *testing.T) {
	f := newAgentFleet(t, nil)
	runner := f.create(fleet.Agent{Mode: fleet.Token, URL: "https://github.com/acme"}, secret.New("registration-8910"))
	listens(t, f.api, runner.ContainerID, 1)
	inside := func(script string) string { return must(t, "exec", runner.Name, "--", "sh", "-c", "cd actions-runner && "+script) }
	inside(`echo '{"migrated":"settings"}' >.runner_migrated && echo '{"migrated":"credentials"}' >.credentials_migrated`)
	for times := 2; times <= 3; times++ {
		if err := f.api.ContainerRestart(t.Context(), runner.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		listens(t, f.api, runner.ContainerID, times)
		got := inside("cat .runner_migrated .credentials_migrated && stat -Lc '%U %a' .runner_migrated && readlink .credentials_migrated")
		if want := "{\"migrated\":\"settings\"}\n{\"migrated\":\"credentials\"}\nrunner 600\n/run/runnerctl/agent/.credentials_migrated\n"; got != want {
			t.Errorf("after restart %d:\n%s", times-1, got)
		}
	}

	inside("rm .runner .credentials .credentials_rsaparams")
	eventually(t, 2*time.Minute, "the runner gives up", func() bool {
		return strings.Contains(containerLog(t, f.api, runner.ContainerID), "agent: GitHub has deleted this runner's registration, and there is no credential for another one: runnerctl up makes another runner\n")
	})
	eventually(t, time.Minute, "the runner ends with a code of its own", func() bool {
		info, err := f.api.ContainerInspect(t.Context(), runner.ContainerID)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.ExitCode == 77
	})
	if log := containerLog(t, f.api, runner.ContainerID); strings.Count(log, "Listening for Jobs") != 3 {
		t.Error(log)
	}
}

// Alone and started again without end, a runner has one name and registers ever more
// slowly while none of its starts lives long.
func TestImageAloneStartsAgainSlowly(t *testing.T) {
	f := newAgentFleet(t, nil)
	config, host := alone(f.spec.Image, "REPO_URL=https://github.com/acme/api", "RUNNER_TOKEN=registration-refused", "EPHEMERAL=true", "RUNNER_NAME_PREFIX=again")
	host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyAlways}
	id := startAlone(t, f.api, config, host)
	eventually(t, time.Minute, "three starts", func() bool {
		return strings.Contains(containerLog(t, f.api, id), "agent: waits 4s: its last 2 starts failed soon\n")
	})
	names := map[string]bool{}
	for line := range strings.Lines(containerLog(t, f.api, id)) {
		if _, rest, found := strings.Cut(line, " --name "); found {
			name, _, _ := strings.Cut(rest, " ")
			names[name] = true
		}
	}
	if len(names) != 1 {
		t.Errorf("names %v", names)
	}
	for name := range names {
		if !strings.HasPrefix(name, "again-") || len(name) != len("again-")+12 {
			t.Errorf("name %s", name)
		}
	}
}
