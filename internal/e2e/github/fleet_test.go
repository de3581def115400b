//go:build linux

package github

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

func TestFleetWithGitHub(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {labels: [GPU]}") // GitHub lists it in small letters
	e2e.Must(t, e2e.Up(name, "--count", "3")...)
	first := e2e.List(t, name)
	var names []string
	for _, runner := range first {
		names = append(names, runner.Name)
		if runner.Listing == nil || runner.Listing.State != fleet.Online || runner.Listing.ID == 0 || runner.Busy || !runner.Ready {
			t.Errorf("got %+v, listed as %+v, want it ready, idle and online", runner, runner.Listing)
		}
		e2e.InspectSecurity(t, api, runner)
	}
	slices.Sort(names)
	if got := e2e.Registered(github); !slices.Equal(got, names) || len(got) != 3 {
		t.Errorf("GitHub lists %v, want the engine's %v, 3 of them", got, names)
	}
	for _, one := range github.Runners() {
		if !one.Ephemeral || !slices.Contains(one.Labels, "gpu") || !slices.Contains(one.Labels, "self-hosted") || !one.Online {
			t.Errorf("got %+v, want an ephemeral runner, online, with the labels gpu and self-hosted", one)
		}
	}
	e2e.Must(t, e2e.Up(name, "--count", "3")...)
	if got := e2e.IDs(e2e.List(t, name)); !slices.Equal(got, e2e.IDs(first)) {
		t.Errorf("after a second up: %v, want %v", got, e2e.IDs(first))
	}

	// A job ends its runner; up fills the gap and reports how the last one ended.
	result := e2e.AwaitJob(t, github, e2e.Queue(t, github, "docker version --format '{{.Server.Version}}'; sudo id -u"))
	if result.Conclusion != "success" || !slices.Contains(names, result.Runner) {
		t.Fatalf("got %+v, want success on one of %v", result, names)
	}
	e2e.Eventually(t, 20*time.Second, "the runner ends", func() bool {
		return slices.ContainsFunc(e2e.List(t, name), func(one fleet.Runner) bool { return one.Name == result.Runner && one.State == fleet.Exited })
	})
	if plan := e2e.Must(t, e2e.Up(name, "--count", "3", "--dry-run")...); !strings.Contains(plan, "remove  "+result.Runner+"  (it ended: done)") || strings.Count(plan, "create") != 1 || strings.Count(plan, "keep") != 2 {
		t.Errorf("plan:\n%s\nwant %s removed, 1 created, 2 kept", plan, result.Runner)
	}
	e2e.Must(t, e2e.Up(name, "--count", "3")...)
	if got := e2e.Registered(github); len(got) != 3 || slices.Contains(got, result.Runner) {
		t.Errorf("GitHub lists %v, want 3 without %s", got, result.Runner)
	}
	e2e.Must(t, "down", "--fleet", name)
	if got := e2e.Registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}

// down removes the idle runner at once and waits for the job of the other one.
func TestDownWaitsForJobs(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme")
	e2e.Must(t, e2e.Up(name, "--count", "2")...)
	job := e2e.QueueAndStart(t, github, "until [ -e ~/go ]; do sleep 0.2; done")
	if code, _, stderr := e2e.Runnerctl(t.Context(), "down", "--fleet", name, "--wait", "1s"); code != commands.ExitFailure || !strings.Contains(stderr, "its job has not ended within 1s") || !strings.Contains(stderr, "--force") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, commands.ExitFailure, stderr, "its job has not ended within 1s", "--force")
	}
	left := e2e.List(t, name)
	if len(left) != 1 || !left[0].Busy || len(github.Runners()) != 1 {
		t.Fatalf("left: %+v, registered: %v", left, e2e.Registered(github))
	}
	// Neither a lower count nor a new spec removes a runner with a job.
	if plan := e2e.Must(t, e2e.Up(name, "--dry-run", "--target", github.URL+"/acme/api")...); !strings.Contains(plan, "its spec changed, but it has a job") || strings.Contains(plan, "create") {
		t.Errorf("plan:\n%s\nwant %q, and nothing created", plan, "its spec changed, but it has a job")
	}
	released := time.AfterFunc(2*time.Second, func() { e2e.Runnerctl(context.Background(), "exec", left[0].Name, "--", "touch", "go") })
	defer released.Stop()
	e2e.Must(t, "down", "--fleet", name)
	if result := e2e.AwaitJob(t, github, job); result.Conclusion != "success" {
		t.Errorf("the job was not let end: %+v, want success", result)
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}

func TestDownForce(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Must(t, e2e.Up(name)...)
	job := e2e.QueueAndStart(t, github, "sleep 300")
	if busy := e2e.List(t, name)[0]; !busy.Busy || !strings.Contains(busy.Listing.JobURL, "/acme/api/actions/runs/") {
		t.Errorf("got %+v, listed as %+v, want it busy with a run of acme/api", busy, busy.Listing)
	}
	started := time.Now()
	e2e.Must(t, "down", "--fleet", name, "--force")
	if took := time.Since(started); took > 40*time.Second {
		t.Errorf("it took %s, want at most 40s", took)
	}
	if result := e2e.AwaitJob(t, github, job); result.Conclusion == "success" {
		t.Errorf("got %+v, want no success", result)
	}
	if left := e2e.Leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, e2e.Registered(github))
	}
}

// After GitHub's faults during an up, the fleet is complete, or there is a clear error and
// nothing is left.
func TestUpThroughFaults(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{SessionTimeout: 5 * time.Second, PollTimeout: 2 * time.Second}, "acme/api")
	const mint = "POST /repos/acme/api/actions/runners/generate-jitconfig"
	github.Inject(ghsim.Fault{Match: mint, Times: 1, Drop: ghsim.DropAfter})
	github.Inject(ghsim.BadGateway(mint, 1))
	github.Inject(ghsim.SecondaryLimit(mint, 1, time.Second))
	github.Inject(ghsim.Fault{Match: mint, Times: 1, Status: 500})
	e2e.Must(t, e2e.Up(name, "--count", "3")...)
	runners := e2e.List(t, name)
	if len(runners) != 3 || len(github.Runners()) != 3 {
		t.Errorf("%d runners, registered: %v, want 3 of each", len(runners), e2e.Registered(github))
	}
	// One registration belongs to a fleet of the same name on another engine, one to a
	// container that was removed by hand.
	if err := api.ContainerRemove(t.Context(), runners[0].Name, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		t.Fatal(err)
	}
	remove := github.Inject(ghsim.Fault{Match: mint, Status: 422, Body: `{"message":"Validation Failed"}`})
	code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--count", "4")...)
	if code != commands.ExitFailure || !strings.Contains(stderr, "422 Unprocessable Entity: Validation Failed") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "422 Unprocessable Entity: Validation Failed")
	}
	remove()
	if runners := e2e.List(t, name); len(runners) != 2 {
		t.Errorf("%d runners, want 2", len(runners))
	}
	e2e.Eventually(t, 30*time.Second, "GitHub sees which one is gone", func() bool {
		return !slices.ContainsFunc(github.Runners(), func(one ghsim.Runner) bool { return one.Name == runners[0].Name && one.Online })
	})
	e2e.Must(t, "down", "--fleet", name)
	if got := e2e.Registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}

// When a token expires during an up, up ends with a clear error, and each runner is complete
// or does not exist.
func TestTokenEndsInTheMidstOfUp(t *testing.T) {
	_, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet")
	const mint = "POST /repos/acme/api/actions/runners/generate-jitconfig"
	github.Inject(ghsim.Fault{Match: mint, Skip: 1, Latency: 2 * time.Second}) // one is registered at once, the others after the token expires
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e2e.Eventually(t, time.Minute, "one is registered", func() bool { return len(github.Runners()) > 0 })
		github.SetClockOffset(2 * time.Hour)
	}()
	code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--count", "3")...)
	<-ended
	if code != commands.ExitAuth || !strings.Contains(stderr, "the token in $RUNNERCTL_TOKEN is not valid at") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitAuth, stderr, "the token in $RUNNERCTL_TOKEN is not valid at")
	}
	github.SetClockOffset(0)
	var names []string
	for _, runner := range e2e.List(t, name) {
		names = append(names, runner.Name)
	}
	slices.Sort(names)
	if at := e2e.Registered(github); !slices.Equal(at, names) || len(at) != 1 {
		t.Errorf("registered: %v, runners: %v, want the same, one", at, names)
	}
}

// Agents sign with their machine's clock: if it is wrong, up registers none.
func TestUpWithAClockThatIsOff(t *testing.T) {
	api, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	for offset, side := range map[time.Duration]string{10 * time.Minute: "behind", -10 * time.Minute: "ahead of"} {
		github.SetClockOffset(offset)
		code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name)...)
		if code != commands.ExitFailure || !strings.Contains(stderr, "the engine's clock is ") || !strings.Contains(stderr, side+" GitHub's") || !strings.Contains(stderr, "timedatectl") {
			t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q, %q and %q", code, commands.ExitFailure, stderr, "the engine's clock is ", side+" GitHub's", "timedatectl")
		}
		if slices.ContainsFunc(github.Requests(), func(one ghsim.Request) bool { return one.Method == "POST" }) {
			t.Errorf("registered: %v, want no POST", e2e.Registered(github))
		}
		if left := e2e.Leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// A static fleet's runner restarts with its registration, and a job finds nothing of the one
// before. down removes the registration.
func TestStaticFleet(t *testing.T) {
	api, github, name := e2e.EnterpriseServer(t, ghsim.Options{}, "acme", "runners: {ephemeral: false}")
	e2e.Supervised(t) // would leave a supervisor if the fleet were not static
	e2e.Must(t, e2e.Up(name)...)
	if left := e2e.Leftovers(t, api, name); len(left) != 2 {
		t.Errorf("left: %v, want a runner and its volume", left)
	}
	runner := e2e.List(t, name)[0]
	id := runner.Listing.ID
	for _, script := range []string{
		"docker network create left && echo x >own && sudo sh -c 'umask 077 && mkdir -p deep/er && echo x >deep/er/root && chown -R 4321 deep'",
		`left="$(find . -mindepth 1)$(docker network ls --quiet --filter name=left)" && echo "left: $left" && [ -z "$left" ]`,
	} {
		if result := e2e.AwaitJob(t, github, e2e.Queue(t, github, script)); result.Conclusion != "success" || result.Runner != runner.Name {
			t.Fatalf("got %+v, want success on %s", result, runner.Name)
		}
	}
	if err := api.ContainerRestart(t.Context(), runner.Name, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	e2e.Must(t, e2e.Up(name)...)
	if again := e2e.List(t, name); len(again) != 1 || again[0].ContainerID != runner.ContainerID || again[0].Listing.ID != id || again[0].Listing.State != fleet.Online {
		t.Errorf("got %+v, want %s alone, online with id %d", again, runner.Name, id)
	}
	e2e.Must(t, "down", "--fleet", name)
	if got := e2e.Registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}

// For an Enterprise Server with its own certificate authority, github.caFile is enough for
// both runnerctl and runners. The agent must not update itself, even if the JIT
// configuration allows it.
func TestEnterpriseServerWithItsOwnCA(t *testing.T) {
	_, github, name := e2e.EnterpriseServer(t, ghsim.Options{JITMayUpdate: true}, "acme/api")
	e2e.Must(t, e2e.Up(name)...)
	script := `grep -q '"DisableUpdate": "True"' ~/actions-runner/.runner && curl -fsS "$GITHUB_SERVER_URL/api/v3/meta" >/dev/null && [ -s "$NODE_EXTRA_CA_CERTS" ]`
	if result := e2e.AwaitJob(t, github, e2e.Queue(t, github, script)); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
}

// Before 3.10 there are no JIT configurations: the runner registers itself for one job.
func TestEnterpriseServerWithoutJIT(t *testing.T) {
	_, github, name := e2e.EnterpriseServer(t, ghsim.Options{Version: "3.9.0"}, "acme/api", "runners: {labels: [gpu]}")
	e2e.Must(t, e2e.Up(name)...)
	registered := github.Runners()
	if len(registered) != 1 || !registered[0].Ephemeral || !slices.Contains(registered[0].Labels, "gpu") {
		t.Fatalf("got %+v, want one ephemeral runner with the label gpu", registered)
	}
	if result := e2e.AwaitJob(t, github, e2e.Queue(t, github, "docker version")); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	e2e.Eventually(t, 20*time.Second, "the runner ends", func() bool {
		runner := e2e.List(t, name)[0]
		return runner.State == fleet.Exited
	})
	// GitHub takes a moment to notice the end of the job.
	e2e.Eventually(t, 10*time.Second, "no runner is registered", func() bool { return len(github.Runners()) == 0 })
	for _, asked := range github.Requests() {
		if strings.Contains(asked.Path, "generate-jitconfig") {
			t.Errorf("got %+v, want no generate-jitconfig", asked)
		}
	}
}
