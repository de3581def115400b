//go:build linux && long

package github

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// Files that the listener writes at GitHub's request survive a restart, as do its other
// files. A registration that GitHub has deleted is not put back: the runner ends with a code
// of its own and names the fix.
func TestAgentWhoseRegistrationChanges(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	runner := f.Create(fleet.Agent{Mode: fleet.Token, URL: "https://github.com/acme"}, secret.New("registration-8910"))
	listens(t, f.API, runner.ContainerID, 1)
	inside := func(script string) string {
		return e2e.Must(t, "exec", runner.Name, "--", "sh", "-c", "cd actions-runner && "+script)
	}
	inside(`echo '{"migrated":"settings"}' >.runner_migrated && echo '{"migrated":"credentials"}' >.credentials_migrated`)
	for times := 2; times <= 3; times++ {
		if err := f.API.ContainerRestart(t.Context(), runner.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		listens(t, f.API, runner.ContainerID, times)
		got := inside("cat .runner_migrated .credentials_migrated && stat -Lc '%U %a' .runner_migrated && readlink .credentials_migrated")
		if want := "{\"migrated\":\"settings\"}\n{\"migrated\":\"credentials\"}\nrunner 600\n/run/runnerctl/agent/.credentials_migrated\n"; got != want {
			t.Errorf("after restart %d:\n%s\nwant\n%s", times-1, got, want)
		}
	}

	inside("rm .runner .credentials .credentials_rsaparams")
	e2e.Eventually(t, 2*time.Minute, "the runner gives up", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, runner.ContainerID), "agent: GitHub has deleted this runner's registration, and there is no credential for a new one: runnerctl up creates another runner\n")
	})
	e2e.Eventually(t, time.Minute, "the runner ends with a code of its own", func() bool {
		info, err := f.API.ContainerInspect(t.Context(), runner.ContainerID)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.ExitCode == 77
	})
	if log := e2e.ContainerLog(t, f.API, runner.ContainerID); strings.Count(log, "Listening for Jobs") != 3 {
		t.Errorf("log:\n%s\nwant %q 3 times", log, "Listening for Jobs")
	}
}

// A stop gives a job its time, then cancels it. The job's last steps run to their end within
// the container's stop timeout.
func TestStopCancelsAJob(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	id, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted"}, Steps: []ghsim.Step{
		{Name: "stubborn", Run: "trap '' INT TERM; for i in $(seq 600); do sleep 1; done"},
		{Name: "last", If: "always()", Run: "sleep 10; docker version"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, time.Minute, "the job starts", func() bool {
		result, _ := github.Result(id)
		return !result.FirstStep.IsZero()
	})
	begun := time.Now()
	if err := api.ContainerStop(t.Context(), runner.Name, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	info, err := api.ContainerInspect(t.Context(), runner.Name)
	if err != nil {
		t.Fatal(err)
	}
	result := e2e.AwaitJob(t, github, id)
	ends := map[string]string{}
	for _, step := range result.Steps {
		ends[step.Name] = step.Conclusion
	}
	if result.Conclusion != "cancelled" || ends["stubborn"] != "cancelled" || ends["last"] != "success" || info.State.ExitCode != 0 || took < 45*time.Second || took > 79*time.Second {
		t.Errorf("after %s, exit code %d: %s %v, want exit code 0 after 45s to 79s, cancelled, stubborn cancelled, last success\n%s", took, info.State.ExitCode, result.Conclusion, ends, e2e.ContainerLog(t, api, runner.Name))
	}
}

// A listener that ends with code 2 is started again. A runner that only ever restarts in this
// way ends at last.
func TestAgentStartsAgainAfterCode2(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	hopeless := f.Create(e2e.JITAgent, e2e.JITConfig(t, "exit 2"))
	recovers := f.Create(e2e.JITAgent, e2e.JITConfig(t, "[ ! -e /tmp/again ] || exit 0; touch /tmp/again; exit 2"))
	stopped := f.Create(e2e.JITAgent, e2e.JITConfig(t, "exit 2"))
	e2e.Eventually(t, time.Minute, "it pauses", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, stopped.ContainerID), "ended with code 2, restarting in 5 s")
	})
	if err := f.API.ContainerStop(t.Context(), stopped.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		runner             fleet.Runner
		code, fewest, most int // starts
	}{{hopeless, 2, 5, 5}, {recovers, 0, 2, 2}, {stopped, 0, 1, 2}} {
		code, log := f.Ended(test.runner)
		if got := strings.Count(log, "agent: Listening for Jobs"); code != test.code || got < test.fewest || got > test.most {
			t.Errorf("code %d after %d starts, want %d after %d to %d:\n%s", code, got, test.code, test.fewest, test.most, log)
		}
	}
}

// When a registration is deleted at GitHub, a static runner ends with the code for that,
// whether it is listening or is started later, and up makes a new one.
func TestRegistrationDeletedAtGitHub(t *testing.T) {
	api, github, name := e2e.EnterpriseServer(t, ghsim.Options{}, "acme", "runners: {ephemeral: false}")
	deleteAtGitHub := func(runner fleet.Runner) {
		t.Helper()
		target, err := ghapi.ParseTarget(github.URL + "/acme")
		if err != nil {
			t.Fatal(err)
		}
		client, err := ghapi.New(target, ghapi.Auth{Token: secret.New(os.Getenv("RUNNERCTL_TOKEN"))}, ghapi.Options{CAs: github.CA()})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Remove(t.Context(), runner.Listing.ID); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(runner fleet.Runner) {
		t.Helper()
		e2e.Eventually(t, 2*time.Minute, "the runner ends with a code of its own", func() bool {
			info, err := api.ContainerInspect(t.Context(), runner.Name)
			if err != nil {
				t.Fatal(err)
			}
			return info.State.ExitCode == 77
		})
		if log := e2e.ContainerLog(t, api, runner.Name); !strings.Contains(log, "agent: GitHub has deleted this runner's registration") {
			t.Errorf("log:\n%s\nwant %q", log, "agent: GitHub has deleted this runner's registration")
		}
	}
	e2e.Must(t, e2e.Up(name)...)
	listening := e2e.List(t, name)[0]
	deleteAtGitHub(listening)
	ends(listening)

	e2e.Must(t, e2e.Up(name)...)
	second := e2e.List(t, name)[0]
	if second.Name == listening.Name || second.Listing == nil || second.Listing.State != fleet.Online {
		t.Fatalf("got %+v, want another runner than %s, online", second, listening.Name)
	}
	if err := api.ContainerStop(t.Context(), second.Name, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	deleteAtGitHub(second)
	if err := api.ContainerStart(t.Context(), second.Name, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	ends(second)
}
