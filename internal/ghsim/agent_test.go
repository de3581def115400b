//go:build linux

package ghsim_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// archive is built once for all tests.
var archive = sync.OnceValue(func() string {
	folder, err := os.MkdirTemp("", "ghsim-test-")
	if err != nil {
		panic(err)
	}
	return filepath.Join(folder, "agent.tar.gz")
})

// agent is the real program in a folder of its own.
type agent struct {
	root   string
	mu     sync.Mutex
	output bytes.Buffer
	*exec.Cmd
}

func (a *agent) Write(content []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.output.Write(content)
}

func (a *agent) said() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.output.String()
}

func newRoot(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(archive()); errors.Is(err, os.ErrNotExist) {
		content, err := os.ReadFile(agenttest.Archive(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(archive(), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	agenttest.Unpack(t, archive(), root)
	return root
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(filepath.Dir(archive()))
	os.Exit(code)
}

func agentCommand(t *testing.T, root string, env []string, args ...string) *agent {
	a := &agent{root: root, Cmd: exec.Command(filepath.Join(root, "bin", "Runner.Listener"), args...)}
	a.Stdout, a.Stderr = a, a
	a.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + root}, env...)
	t.Cleanup(func() {
		if a.Process != nil {
			_ = a.Process.Kill()
			_ = a.Wait()
		}
		if t.Failed() {
			t.Logf("agent said:\n%s", a.said())
		}
	})
	return a
}

// startJIT writes the files of a JIT configuration and starts the agent.
func startJIT(t *testing.T, encoded string, env ...string) *agent {
	t.Helper()
	root := newRoot(t)
	writeJIT(t, encoded, root)
	a := agentCommand(t, root, env, "run")
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return a
}

func writeJIT(t *testing.T, encoded, root string) {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var files map[string][]byte
	if err := json.Unmarshal(decoded, &files); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// exit waits for the end of an agent and gives its code.
func exit(t *testing.T, a *agent) int {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.Wait() // the code is looked at below
	}()
	select {
	case <-ended:
		return a.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatalf("the agent does not end")
		return -1
	}
}

func online(t *testing.T, s *ghsim.Server, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.WaitOnline(ctx, count); err != nil {
		t.Fatal(err)
	}
}

func stepOf(t *testing.T, r ghsim.Result, name string) ghsim.StepResult {
	t.Helper()
	at := slices.IndexFunc(r.Steps, func(s ghsim.StepResult) bool { return s.Name == name })
	if at < 0 {
		t.Fatalf("no step %q in %+v", name, r.Steps)
	}
	return r.Steps[at]
}

func TestAgentRunsJob(t *testing.T) {
	s := start(t, ghsim.Options{})
	encoded := mint(t, s, "repos/acme/api", "one", "self-hosted", "linux").Encoded
	a := startJIT(t, encoded)
	online(t, s, 1)
	id := queue(t, s, `
jobs:
  build:
    runs-on: [self-hosted, linux]
    env: {COLOUR: green}
    steps:
      - name: first
        run: |
          echo "hello $COLOUR from $RUNNER_NAME in $GITHUB_REPOSITORY"
          echo "LATER=said before" >>"$GITHUB_ENV"
          echo "# a summary" >>"$GITHUB_STEP_SUMMARY"
          pwd
      - name: second
        env: {COLOUR: red}
        run: echo "$COLOUR, $LATER"
      - name: never
        if: failure()
        run: echo never
`)
	result := wait(t, s, id)
	if code := exit(t, a); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	first, second := stepOf(t, result, "first"), stepOf(t, result, "second")
	if result.Conclusion != "success" || result.Runner != "one" || first.Conclusion != "success" || stepOf(t, result, "never").Conclusion != "skipped" {
		t.Errorf("got %+v, want success on one, the first step too, and never skipped", result)
	}
	for text, want := range map[string]string{
		first.Log: "hello green from one in acme/api", second.Log: "red, said before", result.Log: "red, said before",
		first.Summary: "# a summary", strings.Join(result.Live, "\n"): "hello green from one",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if !strings.Contains(first.Log, filepath.Join(a.root, "_work", "api", "api")) {
		t.Errorf("the workspace is not in %q", first.Log)
	}
	for _, pair := range [][2]time.Time{{result.Queued, result.Assigned}, {result.Assigned, result.Acquired}, {result.Acquired, result.FirstStep}, {result.FirstStep, result.Completed}} {
		if pair[0].IsZero() || pair[1].Before(pair[0]) {
			t.Errorf("times out of order: %+v", result)
		}
	}
	t.Logf("queued to first step %s, whole %s", result.FirstStep.Sub(result.Queued), result.Completed.Sub(result.Queued))
	for deadline := time.Now().Add(5 * time.Second); len(s.Runners()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("an ephemeral runner is left: %+v", s.Runners())
		}
	}
	if _, err := os.Stat(filepath.Join(a.root, ".credentials_rsaparams")); err == nil {
		t.Error("the key is left on disk")
	}
}

func TestAgentFailingAndTolerated(t *testing.T) {
	s := start(t, ghsim.Options{})
	startJIT(t, mint(t, s, "orgs/acme", "fails", "linux").Encoded)
	result := wait(t, s, queue(t, s, `
jobs:
  build:
    runs-on: linux
    steps:
      - {name: tolerated, run: exit 3, continue-on-error: true}
      - {name: fails, run: "echo about to fail; exit 7"}
      - {name: skipped, run: "true"}
      - {name: cleans, run: "true", if: always()}
`))
	if result.Conclusion != "failure" || stepOf(t, result, "fails").Conclusion != "failure" || stepOf(t, result, "skipped").Conclusion != "skipped" || stepOf(t, result, "cleans").Conclusion != "success" {
		t.Errorf("got %+v, want failure: fails failed, skipped skipped, cleans succeeded", result)
	}
	if !strings.Contains(stepOf(t, result, "fails").Log, "Process completed with exit code 7.") || len(result.Failures) != 2 {
		t.Errorf("log %q, want exit code 7; failures %q, want 2", stepOf(t, result, "fails").Log, result.Failures)
	}
}

func TestAgentHooks(t *testing.T) {
	s := start(t, ghsim.Options{})
	folder := t.TempDir()
	hook := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	job := "jobs: {build: {runs-on: linux, steps: [{name: only, run: echo ran}]}}"
	started := hook("started.sh", "echo before $RUNNER_NAME\n")
	ended := hook("completed.sh", "echo after >"+filepath.Join(folder, "after"))
	startJIT(t, mint(t, s, "orgs/acme", "hooked", "linux").Encoded, "ACTIONS_RUNNER_HOOK_JOB_STARTED="+started, "ACTIONS_RUNNER_HOOK_JOB_COMPLETED="+ended)
	result := wait(t, s, queue(t, s, job))
	if result.Conclusion != "success" || !strings.Contains(stepOf(t, result, "Set up runner").Log, "before hooked") || stepOf(t, result, "Complete runner").Conclusion != "success" {
		t.Errorf("got %+v, want success, before hooked in the set-up, and a completed runner", result)
	}
	if _, err := os.Stat(filepath.Join(folder, "after")); err != nil {
		t.Error(err)
	}
	startJIT(t, mint(t, s, "orgs/acme", "refused", "linux").Encoded, "ACTIONS_RUNNER_HOOK_JOB_STARTED="+hook("bad.sh", "exit 9"))
	if result := wait(t, s, queue(t, s, job)); result.Conclusion != "failure" || stepOf(t, result, "only").Conclusion != "skipped" {
		t.Errorf("a failing hook: %+v, want failure, and only skipped", result)
	}
}

func TestAgentCancelledAndTerminated(t *testing.T) {
	s := start(t, ghsim.Options{})
	slow := "jobs: {build: {runs-on: linux, steps: [{name: sleeps, run: echo sleeping; sleep 60}, {name: cleans, if: always(), run: echo cleaned}]}}"
	begun := func(id int64) {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if r, _ := s.Result(id); !r.FirstStep.IsZero() {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the job does not start")
			}
		}
	}
	a := startJIT(t, mint(t, s, "orgs/acme", "cancelled", "linux").Encoded)
	id := queue(t, s, slow)
	begun(id)
	if got := s.Runners(); len(got) != 1 || !got[0].Busy || !got[0].Online {
		t.Errorf("got %+v, want one runner, busy and online", got)
	}
	s.Cancel(id)
	if r := wait(t, s, id); r.Conclusion != "cancelled" || stepOf(t, r, "sleeps").Conclusion != "cancelled" || stepOf(t, r, "cleans").Conclusion != "success" {
		t.Errorf("got %+v, want cancelled, sleeps cancelled, cleans succeeded", r)
	}
	if code := exit(t, a); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	b := startJIT(t, mint(t, s, "orgs/acme", "terminated", "linux").Encoded)
	id = queue(t, s, slow)
	begun(id)
	if err := b.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := wait(t, s, id); r.Conclusion != "cancelled" || stepOf(t, r, "cleans").Conclusion != "success" || len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "shutdown signal") {
		t.Errorf("got %+v, want cancelled, cleans succeeded, and one failure with shutdown signal", r)
	}
	if code := exit(t, b); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	c := startJIT(t, mint(t, s, "orgs/acme", "idle", "linux").Encoded)
	online(t, s, 1)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exit(t, c); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	got := s.Runners()
	for deadline := time.Now().Add(10 * time.Second); len(got) > 1 && time.Now().Before(deadline); got = s.Runners() {
		time.Sleep(50 * time.Millisecond) // the one before it stays listed for a moment
	}
	if len(got) != 1 || got[0].Name != "idle" || got[0].Online {
		t.Errorf("an idle runner that stopped: %+v, want idle alone, offline", got)
	}
}

func TestAgentOfRemovedRunnerEnds(t *testing.T) {
	s := start(t, ghsim.Options{})
	minted := mint(t, s, "orgs/acme", "gone", "linux")
	client(t, s, s.ClassicToken(0, "admin:org")).do("DELETE", "/orgs/acme/actions/runners/"+minted.id(), nil, 204, nil)
	if code := exit(t, startJIT(t, minted.Encoded)); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestAgentConfigure(t *testing.T) {
	s := start(t, ghsim.Options{})
	root := newRoot(t)
	ca := filepath.Join(root, "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, ".env"), []byte("SSL_CERT_FILE="+ca+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var token struct{ Token string }
	api := client(t, s, s.ClassicToken(0, "repo"))
	api.do("POST", "/repos/acme/api/actions/runners/registration-token", nil, 201, &token)
	args := []string{"configure", "--unattended", "--url", s.URL + "/acme/api", "--name", "static", "--labels", "a,b", "--work", "_w", "--disableupdate"}
	if code := runAgent(t, root, []string{"ACTIONS_RUNNER_INPUT_TOKEN=" + token.Token}, args...); code != 0 {
		t.Fatalf("configure: exit code %d, want 0", code)
	}
	if got := s.Runners(); len(got) != 1 || got[0].Ephemeral || !slices.Contains(got[0].Labels, "b") || !slices.Contains(got[0].Labels, "self-hosted") {
		t.Fatalf("got %+v, want one runner that is not ephemeral, with the labels b and self-hosted", got)
	}
	if code := runAgent(t, root, []string{"ACTIONS_RUNNER_INPUT_TOKEN=" + token.Token}, args...); code != 1 {
		t.Errorf("configured twice: exit code %d, want 1", code)
	}
	a := agentCommand(t, root, nil, "run")
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it stays after its first job
		job := "jobs: {build: {runs-on: [a, b], steps: [{name: only, run: pwd}]}}"
		if r := wait(t, s, queue(t, s, job)); r.Conclusion != "success" || !strings.Contains(r.Log, filepath.Join(root, "_w", "api", "api")) {
			t.Errorf("got %+v, want success in %s", r, filepath.Join(root, "_w", "api", "api"))
		}
	}
	if err := a.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exit(t, a); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	api.do("POST", "/repos/acme/api/actions/runners/remove-token", nil, 201, &token)
	if code := runAgent(t, root, []string{"ACTIONS_RUNNER_INPUT_TOKEN=" + token.Token}, "remove", "--unattended"); code != 0 || len(s.Runners()) > 0 {
		t.Errorf("remove: exit code %d, want 0; %+v, want no runner", code, s.Runners())
	}
}

func runAgent(t *testing.T, root string, env []string, args ...string) int {
	t.Helper()
	a := agentCommand(t, root, env, args...)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return exit(t, a)
}

// With TLS for runners only those who know the CA come through; all that they speak
// goes by it.
func TestAgentOverTLS(t *testing.T) {
	s := start(t, ghsim.Options{RunnerTLS: true})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger := startJIT(t, mint(t, s, "repos/acme/api", "stranger", "self-hosted").Encoded)
	a := startJIT(t, mint(t, s, "repos/acme/api", "one", "self-hosted").Encoded, "SSL_CERT_FILE="+ca)
	online(t, s, 1)
	result := wait(t, s, queue(t, s, `
jobs:
  build:
    runs-on: self-hosted
    steps:
      - run: echo over TLS
`))
	if result.Conclusion != "success" || result.Runner != "one" || !strings.Contains(result.Log, "over TLS") || len(result.Live) == 0 {
		t.Errorf("got %+v, want success on one, over TLS, with live lines", result)
	}
	if code := exit(t, a); code != 0 || !strings.Contains(stranger.said(), "certificate signed by unknown authority") {
		t.Errorf("exit code %d, want 0; the stranger said: %s\nwant %q", code, stranger.said(), "certificate signed by unknown authority")
	}
}
