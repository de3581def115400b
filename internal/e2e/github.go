//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// WithGitHub names a fleet whose runners hold the test agent and take their jobs from a
// stand-in, which they reach over the bridge.
func WithGitHub(t *testing.T, options ghsim.Options, target string, more ...string) (*client.Client, *ghsim.Server, string) {
	t.Helper()
	api := Engine(t)
	options.RunnerAddress = BridgeAddress(t) + ":0"
	github := StartGitHub(t, options)
	name := NewFleet(t, api)
	WriteSettings(t, github, target, append(more, fmt.Sprintf("image: {agent: {archive: %s}}", agenttest.Archive(t)))...)
	return api, github, name
}

// LookForJIT is a step that uses Docker, and prints "hidden" if no process of the machine has a JIT
// configuration in its environment.
const LookForJIT = "docker version && sudo sh -c 'cat /proc/*/environ' | tr '\\0' '\\n' | grep -c JITCONFIG || echo hidden"

// Queue queues a job of one step and returns its ID.
func Queue(t *testing.T, github *ghsim.Server, script string) int64 {
	t.Helper()
	id, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted"}, Steps: []ghsim.Step{{Run: script}}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// QueueAndStart queues a job and waits until its first step runs.
func QueueAndStart(t *testing.T, github *ghsim.Server, script string) int64 {
	t.Helper()
	id := Queue(t, github, script)
	Eventually(t, time.Minute, "the job starts", func() bool {
		result, _ := github.Result(id)
		return !result.FirstStep.IsZero()
	})
	return id
}

// EnterpriseServer is a stand-in that runners reach at both of its addresses, and only if
// they trust its CA.
func EnterpriseServer(t *testing.T, options ghsim.Options, target string, more ...string) (*client.Client, *ghsim.Server, string) {
	t.Helper()
	api := Engine(t)
	options.Address, options.RunnerTLS = BridgeAddress(t)+":0", true
	_, github, name := WithGitHub(t, options, target, more...)
	return api, github, name
}

// StartGitHub starts a stand-in and puts a token for it into the environment. up leaves no
// supervisor, since these tests check the runners themselves.
func StartGitHub(t *testing.T, options ghsim.Options) *ghsim.Server {
	t.Helper()
	github, err := ghsim.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(github.Close)
	t.Setenv("RUNNERCTL_TOKEN", github.ClassicToken(time.Hour, "repo", "admin:org", "manage_runners:enterprise"))
	t.Setenv("RUNNERCTL_NO_SUPERVISOR", "true")
	return github
}

// NewGitHub starts a stand-in and makes it the target of a runnerctl in the working folder.
func NewGitHub(t *testing.T, options ghsim.Options, target string, more ...string) *ghsim.Server {
	t.Helper()
	github := StartGitHub(t, options)
	WriteSettings(t, github, target, more...)
	return github
}

// WriteSettings writes settings with the stand-in as target into the working folder.
func WriteSettings(t *testing.T, github *ghsim.Server, target string, more ...string) {
	t.Helper()
	text := fmt.Sprintf("target: %s/%s\n%s", github.URL, target, strings.Join(more, "\n"))
	if !strings.Contains(text, "github:") {
		text += "\ngithub: {caFile: ca.pem}\n"
	}
	for file, content := range map[string][]byte{"runnerctl.yaml": []byte(text), "ca.pem": github.CA()} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Registered returns the names of the runners that the stand-in lists, sorted.
func Registered(github *ghsim.Server) (names []string) {
	for _, one := range github.Runners() {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names
}

// AwaitJob waits at most a minute until a job ends.
func AwaitJob(t *testing.T, github *ghsim.Server, id int64) ghsim.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := github.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// GitHubClient returns the client for the settings in the working folder.
func GitHubClient(t *testing.T) *ghapi.Client {
	t.Helper()
	loaded, err := config.Load("runnerctl.yaml")
	if err != nil {
		t.Fatal(err)
	}
	client, err := session.Session{Env: os.Getenv}.Opener().Client(t.Context(), loaded, loaded.Target)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// RunJobs queues several jobs in parallel and checks that each succeeds, once, on its own
// runner.
func RunJobs(t *testing.T, github *ghsim.Server, count int) (runners []string) {
	t.Helper()
	var queued []int64
	for range count {
		queued = append(queued, Queue(t, github, "docker version --format '{{.Server.Version}}'"))
	}
	for _, id := range queued {
		result := AwaitJob(t, github, id)
		if result.Conclusion != "success" || slices.Contains(runners, result.Runner) {
			t.Errorf("job %d: %+v, want success on a runner without a job before", id, result)
		}
		runners = append(runners, result.Runner)
	}
	return runners
}

// AwaitOnline waits until count idle runners are online, apart from those that had a job.
func AwaitOnline(t *testing.T, github *ghsim.Server, count int, had ...string) {
	t.Helper()
	Eventually(t, 3*time.Minute, "all are online", func() bool {
		idle := 0
		for _, one := range github.Runners() {
			if one.Online && !one.Busy && !slices.Contains(had, one.Name) {
				idle++
			}
		}
		return idle == count
	})
}
