//go:build linux

package commands

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// withGitHub names a fleet whose runners hold the test agent and take their jobs from a
// stand-in, which they reach over the bridge.
func withGitHub(t *testing.T, options ghsim.Options, target string, more ...string) (*client.Client, *ghsim.Server, string) {
	t.Helper()
	api := realEngine(t)
	options.RunnerAddress = bridgeAddress(t) + ":0"
	github := startGitHub(t, options)
	name := newFleet(t, api)
	writeSettings(t, github, target, append(more, fmt.Sprintf("image: {agent: {archive: %s}}", agenttest.Archive(t)))...)
	return api, github, name
}

// bridgeAddress returns the address at which containers reach this machine.
func bridgeAddress(t *testing.T) string {
	t.Helper()
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	address, err := engine.Bridge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address.String()
}

func queue(t *testing.T, github *ghsim.Server, script string) int64 {
	t.Helper()
	id, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted"}, Steps: []ghsim.Step{{Run: script}}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// queueAndStart queues a job and waits until its first step runs.
func queueAndStart(t *testing.T, github *ghsim.Server, script string) int64 {
	t.Helper()
	id := queue(t, github, script)
	eventually(t, time.Minute, "the job starts", func() bool {
		result, _ := github.Result(id)
		return !result.FirstStep.IsZero()
	})
	return id
}

func TestFleetWithGitHub(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api", "runners: {labels: [GPU]}") // GitHub lists it in small letters
	must(t, up(name, "--count", "3")...)
	first := list(t, name)
	var names []string
	for _, runner := range first {
		names = append(names, runner.Name)
		if runner.Listing == nil || runner.Listing.State != fleet.Online || runner.Listing.ID == 0 || runner.Busy || !runner.Ready {
			t.Errorf("got %+v, listed as %+v, want it ready, idle and online", runner, runner.Listing)
		}
		inspectSecurity(t, api, runner)
	}
	slices.Sort(names)
	if got := registered(github); !slices.Equal(got, names) || len(got) != 3 {
		t.Errorf("GitHub lists %v, want the engine's %v, 3 of them", got, names)
	}
	for _, one := range github.Runners() {
		if !one.Ephemeral || !slices.Contains(one.Labels, "gpu") || !slices.Contains(one.Labels, "self-hosted") || !one.Online {
			t.Errorf("got %+v, want an ephemeral runner, online, with the labels gpu and self-hosted", one)
		}
	}
	must(t, up(name, "--count", "3")...)
	if got := ids(list(t, name)); !slices.Equal(got, ids(first)) {
		t.Errorf("after a second up: %v, want %v", got, ids(first))
	}

	// A job ends its runner; up fills the gap and reports how the last one ended.
	result := await(t, github, queue(t, github, "docker version --format '{{.Server.Version}}'; sudo id -u"))
	if result.Conclusion != "success" || !slices.Contains(names, result.Runner) {
		t.Fatalf("got %+v, want success on one of %v", result, names)
	}
	eventually(t, 20*time.Second, "the runner ends", func() bool {
		return slices.ContainsFunc(list(t, name), func(one fleet.Runner) bool { return one.Name == result.Runner && one.State == fleet.Exited })
	})
	if plan := must(t, up(name, "--count", "3", "--dry-run")...); !strings.Contains(plan, "remove  "+result.Runner+"  (it ended: done)") || strings.Count(plan, "create") != 1 || strings.Count(plan, "keep") != 2 {
		t.Errorf("plan:\n%s\nwant %s removed, 1 created, 2 kept", plan, result.Runner)
	}
	must(t, up(name, "--count", "3")...)
	if got := registered(github); len(got) != 3 || slices.Contains(got, result.Runner) {
		t.Errorf("GitHub lists %v, want 3 without %s", got, result.Runner)
	}
	must(t, "down", "--fleet", name)
	if got := registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}

// down removes the idle runner at once and waits for the job of the other one.
func TestDownWaitsForJobs(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme")
	must(t, up(name, "--count", "2")...)
	job := queueAndStart(t, github, "until [ -e ~/go ]; do sleep 0.2; done")
	if code, _, stderr := runnerctl(t.Context(), "down", "--fleet", name, "--wait", "1s"); code != exitFailure || !strings.Contains(stderr, "its job has not ended within 1s") || !strings.Contains(stderr, "--force") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q and %q", code, exitFailure, stderr, "its job has not ended within 1s", "--force")
	}
	left := list(t, name)
	if len(left) != 1 || !left[0].Busy || len(github.Runners()) != 1 {
		t.Fatalf("left: %+v, registered: %v", left, registered(github))
	}
	// Neither a lower count nor a new spec removes a runner with a job.
	if plan := must(t, up(name, "--dry-run", "--target", github.URL+"/acme/api")...); !strings.Contains(plan, "its spec changed, but it has a job") || strings.Contains(plan, "create") {
		t.Errorf("plan:\n%s\nwant %q, and nothing created", plan, "its spec changed, but it has a job")
	}
	released := time.AfterFunc(2*time.Second, func() { runnerctl(context.Background(), "exec", left[0].Name, "--", "touch", "go") })
	defer released.Stop()
	must(t, "down", "--fleet", name)
	if result := await(t, github, job); result.Conclusion != "success" {
		t.Errorf("the job was not let end: %+v, want success", result)
	}
	if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, registered(github))
	}
}

func TestDownForce(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	must(t, up(name)...)
	job := queueAndStart(t, github, "sleep 300")
	if busy := list(t, name)[0]; !busy.Busy || !strings.Contains(busy.Listing.JobURL, "/acme/api/actions/runs/") {
		t.Errorf("got %+v, listed as %+v, want it busy with a run of acme/api", busy, busy.Listing)
	}
	started := time.Now()
	must(t, "down", "--fleet", name, "--force")
	if took := time.Since(started); took > 40*time.Second {
		t.Errorf("it took %s, want at most 40s", took)
	}
	if result := await(t, github, job); result.Conclusion == "success" {
		t.Errorf("got %+v, want no success", result)
	}
	if left := leftovers(t, api, name); len(left) > 0 || len(github.Runners()) > 0 {
		t.Errorf("left: %v, registered: %v", left, registered(github))
	}
}

// After GitHub's faults during an up, the fleet is complete, or there is a clear error and
// nothing is left.
func TestUpThroughFaults(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{SessionTimeout: 5 * time.Second, PollTimeout: 2 * time.Second}, "acme/api")
	const mint = "POST /repos/acme/api/actions/runners/generate-jitconfig"
	github.Inject(ghsim.Fault{Match: mint, Times: 1, Drop: ghsim.DropAfter})
	github.Inject(ghsim.BadGateway(mint, 1))
	github.Inject(ghsim.SecondaryLimit(mint, 1, time.Second))
	github.Inject(ghsim.Fault{Match: mint, Times: 1, Status: 500})
	must(t, up(name, "--count", "3")...)
	runners := list(t, name)
	if len(runners) != 3 || len(github.Runners()) != 3 {
		t.Errorf("%d runners, registered: %v, want 3 of each", len(runners), registered(github))
	}
	// One registration belongs to a fleet of the same name on another engine, one to a
	// container that was removed by hand.
	if err := api.ContainerRemove(t.Context(), runners[0].Name, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
		t.Fatal(err)
	}
	remove := github.Inject(ghsim.Fault{Match: mint, Status: 422, Body: `{"message":"Validation Failed"}`})
	code, _, stderr := runnerctl(t.Context(), up(name, "--count", "4")...)
	if code != exitFailure || !strings.Contains(stderr, "422 Unprocessable Entity: Validation Failed") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, exitFailure, stderr, "422 Unprocessable Entity: Validation Failed")
	}
	remove()
	if runners := list(t, name); len(runners) != 2 {
		t.Errorf("%d runners, want 2", len(runners))
	}
	eventually(t, 30*time.Second, "GitHub sees which one is gone", func() bool {
		return !slices.ContainsFunc(github.Runners(), func(one ghsim.Runner) bool { return one.Name == runners[0].Name && one.Online })
	})
	must(t, "down", "--fleet", name)
	if got := registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}

// When a token expires during an up, up ends with a clear error, and each runner is complete
// or does not exist.
func TestTokenEndsInTheMidstOfUp(t *testing.T) {
	_, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	must(t, "build", "--bootstrap-base", "--progress", "quiet")
	const mint = "POST /repos/acme/api/actions/runners/generate-jitconfig"
	github.Inject(ghsim.Fault{Match: mint, Skip: 1, Latency: 2 * time.Second}) // one is registered at once, the others after the token expires
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		eventually(t, time.Minute, "one is registered", func() bool { return len(github.Runners()) > 0 })
		github.SetClockOffset(2 * time.Hour)
	}()
	code, _, stderr := runnerctl(t.Context(), up(name, "--count", "3")...)
	<-ended
	if code != exitAuth || !strings.Contains(stderr, "the token in $RUNNERCTL_TOKEN is not valid at") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, exitAuth, stderr, "the token in $RUNNERCTL_TOKEN is not valid at")
	}
	github.SetClockOffset(0)
	var names []string
	for _, runner := range list(t, name) {
		names = append(names, runner.Name)
	}
	slices.Sort(names)
	if at := registered(github); !slices.Equal(at, names) || len(at) != 1 {
		t.Errorf("registered: %v, runners: %v, want the same, one", at, names)
	}
}

// Agents sign with their machine's clock: if it is wrong, up registers none.
func TestUpWithAClockThatIsOff(t *testing.T) {
	api, github, name := withGitHub(t, ghsim.Options{}, "acme/api")
	for offset, side := range map[time.Duration]string{10 * time.Minute: "behind", -10 * time.Minute: "ahead of"} {
		github.SetClockOffset(offset)
		code, _, stderr := runnerctl(t.Context(), up(name)...)
		if code != exitFailure || !strings.Contains(stderr, "the engine's clock is ") || !strings.Contains(stderr, side+" GitHub's") || !strings.Contains(stderr, "timedatectl") {
			t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q, %q and %q", code, exitFailure, stderr, "the engine's clock is ", side+" GitHub's", "timedatectl")
		}
		if slices.ContainsFunc(github.Requests(), func(one ghsim.Request) bool { return one.Method == "POST" }) {
			t.Errorf("registered: %v, want no POST", registered(github))
		}
		if left := leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// enterpriseServer is a stand-in that runners reach at both of its addresses, and only if
// they trust its CA.
func enterpriseServer(t *testing.T, options ghsim.Options, target string, more ...string) (*client.Client, *ghsim.Server, string) {
	t.Helper()
	api := realEngine(t)
	options.Address, options.RunnerTLS = bridgeAddress(t)+":0", true
	_, github, name := withGitHub(t, options, target, more...)
	return api, github, name
}

// A static fleet's runner restarts with its registration, and a job finds nothing of the one
// before. down removes the registration.
func TestStaticFleet(t *testing.T) {
	api, github, name := enterpriseServer(t, ghsim.Options{}, "acme", "runners: {ephemeral: false}")
	supervised(t) // would leave a supervisor if the fleet were not static
	must(t, up(name)...)
	if left := leftovers(t, api, name); len(left) != 2 {
		t.Errorf("left: %v, want a runner and its volume", left)
	}
	runner := list(t, name)[0]
	id := runner.Listing.ID
	for _, script := range []string{
		"docker network create left && echo x >own && sudo sh -c 'umask 077 && mkdir -p deep/er && echo x >deep/er/root && chown -R 4321 deep'",
		`left="$(find . -mindepth 1)$(docker network ls --quiet --filter name=left)" && echo "left: $left" && [ -z "$left" ]`,
	} {
		if result := await(t, github, queue(t, github, script)); result.Conclusion != "success" || result.Runner != runner.Name {
			t.Fatalf("got %+v, want success on %s", result, runner.Name)
		}
	}
	if err := api.ContainerRestart(t.Context(), runner.Name, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	must(t, up(name)...)
	if again := list(t, name); len(again) != 1 || again[0].ContainerID != runner.ContainerID || again[0].Listing.ID != id || again[0].Listing.State != fleet.Online {
		t.Errorf("got %+v, want %s alone, online with id %d", again, runner.Name, id)
	}
	must(t, "down", "--fleet", name)
	if got := registered(github); len(got) > 0 {
		t.Errorf("left at GitHub: %v", got)
	}
}

// For an Enterprise Server with its own certificate authority, github.caFile is enough for
// both runnerctl and runners. The agent must not update itself, even if the JIT
// configuration allows it.
func TestEnterpriseServerWithItsOwnCA(t *testing.T) {
	_, github, name := enterpriseServer(t, ghsim.Options{JITMayUpdate: true}, "acme/api")
	must(t, up(name)...)
	script := `grep -q '"DisableUpdate": "True"' ~/actions-runner/.runner && curl -fsS "$GITHUB_SERVER_URL/api/v3/meta" >/dev/null && [ -s "$NODE_EXTRA_CA_CERTS" ]`
	if result := await(t, github, queue(t, github, script)); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
}

// Before 3.10 there are no JIT configurations: the runner registers itself for one job.
func TestEnterpriseServerWithoutJIT(t *testing.T) {
	_, github, name := enterpriseServer(t, ghsim.Options{Version: "3.9.0"}, "acme/api", "runners: {labels: [gpu]}")
	must(t, up(name)...)
	registered := github.Runners()
	if len(registered) != 1 || !registered[0].Ephemeral || !slices.Contains(registered[0].Labels, "gpu") {
		t.Fatalf("got %+v, want one ephemeral runner with the label gpu", registered)
	}
	if result := await(t, github, queue(t, github, "docker version")); result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	eventually(t, 20*time.Second, "the runner ends", func() bool {
		runner := list(t, name)[0]
		return runner.State == fleet.Exited
	})
	if left := github.Runners(); len(left) > 0 {
		t.Errorf("registered: %v, want none", left)
	}
	for _, asked := range github.Requests() {
		if strings.Contains(asked.Path, "generate-jitconfig") {
			t.Errorf("got %+v, want no generate-jitconfig", asked)
		}
	}
}
