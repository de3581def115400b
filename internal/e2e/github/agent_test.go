//go:build linux

package github

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// listens waits until a container's agent has begun to listen for the given number of times
// since the container's first start.
func listens(t *testing.T, api *client.Client, id string, times int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		log := e2e.ContainerLog(t, api, id)
		if strings.Count(log, "agent: Listening for Jobs") == times {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log:\n%s\nwant %d times %q", log, times, "agent: Listening for Jobs")
		}
	}
}

// idleAgent waits for jobs until it is stopped. It is a function of testdata/Runner.Listener.
const idleAgent = "forever"

// For one job, the agent finds its files and a clean environment, and the runner ends with
// the agent's exit code.
func TestAgentByJIT(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	for want, script := range map[int]string{0: `echo one job done, updates disabled: $(jq -r .DisableUpdate "$root/.runner")`, 7: "exit 7"} {
		runner := f.Create(e2e.JITAgent, e2e.JITConfig(t, script))
		code, log := f.Ended(runner)
		if code != want || !strings.Contains(log, "agent: Listening for Jobs, descriptors 0 1 2 3\n") || !strings.Contains(log, fmt.Sprintf("agent: ended with code %d\n", want)) {
			t.Errorf("code %d, want %d:\n%s", code, want, log)
		}
		if want == 0 && !strings.Contains(log, "agent: one job done, updates disabled: True\n") {
			t.Errorf("log:\n%s\nwant %q", log, "agent: one job done, updates disabled: True\n")
		}
	}
}

// On a stop, the agent ends first. A running job is waited for, and the daemon answers until
// it ends.
func TestAgentIsStoppedFirst(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	idle := f.Create(e2e.JITAgent, e2e.JITConfig(t, idleAgent))
	e2e.Eventually(t, time.Minute, "the agent listens", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, idle.ContainerID), "agent: Listening for Jobs")
	})
	begun := time.Now()
	if err := f.API.ContainerStop(t.Context(), idle.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, log := f.Ended(idle); code != 0 || !strings.Contains(log, "agent: stopped\n") || time.Since(begun) > 10*time.Second {
		t.Errorf("idle: exit code %d after %s, want 0 within 10s; log:\n%s\nwant %q", code, time.Since(begun), log, "agent: stopped\n")
	}

	busy := f.Create(e2e.JITAgent, e2e.JITConfig(t, `trap 'echo stopped; exit 1' INT; echo job begins
		bash -c 'sleep 6; curl -fsS --unix-socket /run/docker.sock http://docker/_ping && echo " from the daemon"'
		forever`))
	e2e.Eventually(t, time.Minute, "the job begins", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, busy.ContainerID), "agent: job begins")
	})
	if err := f.API.ContainerStop(t.Context(), busy.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, log := f.Ended(busy); code != 1 || !strings.Contains(log, "agent: OK from the daemon\n") {
		t.Errorf("busy: exit code %d, want 1; log:\n%s\nwant %q", code, log, "agent: OK from the daemon\n")
	}
}

// Only the agent's own files hold the credential; it appears nowhere that others can read.
func TestAgentKeepsTheCredentialSecret(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	credential := e2e.JITConfig(t, idleAgent)
	runner := f.Create(e2e.JITAgent, credential)
	f.Ready(runner)
	listens(t, f.API, runner.ContainerID, 1)
	text := f.Everywhere(runner)
	if !strings.Contains(text, "Runner.Listener\x00run\x00") || !strings.Contains(text, "RUNNERCTL_SETTINGS=") {
		t.Fatalf("the search does not see the agent:\n%q\nwant its command line and RUNNERCTL_SETTINGS", text)
	}
	var files map[string]string
	blob, err := base64.StdEncoding.DecodeString(credential.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(blob, &files); err != nil {
		t.Fatal(err)
	}
	for what, needle := range map[string]string{
		"the blob": credential.Reveal()[:40], "the key": "the-key-itself-4567", "the key in base64": files[".credentials_rsaparams"], "the client": "client-0123",
	} {
		if strings.Contains(text, needle) {
			t.Errorf("%s is where others can read it", what)
		}
	}
	changed, err := f.API.ContainerDiff(t.Context(), runner.ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range changed {
		if !strings.Contains(one.Path, "credentials") {
			continue
		}
		if kind := e2e.Must(t, "exec", runner.Name, "--", "stat", "-c", "%F", strings.TrimPrefix(one.Path, "/rootfs")); kind != "symbolic link\n" {
			t.Errorf("in the container's layer: %s, %s, want a symbolic link", one.Path, kind)
		}
	}
	got := e2e.Must(t, "exec", "--root", runner.Name, "--", "sh", "-c", "grep -rlF -e the-key-itself -e client-0123 /home /root /tmp /var /etc /usr/lib/runnerctl /run | sort")
	if want := "/run/runnerctl/agent/.credentials\n/run/runnerctl/agent/.credentials_rsaparams\n"; got != want {
		t.Errorf("found in\n%s\nwant\n%s", got, want)
	}
}

// After a restart, a runner for many jobs keeps its registration.
func TestStaticAgent(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	agent := fleet.Agent{Mode: fleet.Token, URL: "https://github.com/acme", Labels: []string{"gpu", "large"}, Group: "builders"}
	runner := f.Create(agent, secret.New("registration-8910"))
	f.Ready(runner)
	listening := func() int {
		return strings.Count(e2e.ContainerLog(t, f.API, runner.ContainerID), "agent: Listening for Jobs")
	}
	e2e.Eventually(t, time.Minute, "the agent listens", func() bool { return listening() == 1 })
	log := e2e.ContainerLog(t, f.API, runner.ContainerID)
	if want := "agent: configured with --unattended --url https://github.com/acme --name " + runner.Name + " --work _work --disableupdate --labels gpu,large --runnergroup builders\n"; !strings.Contains(log, want) {
		t.Errorf("no %q in\n%s", want, log)
	}
	if strings.Contains(f.Everywhere(runner), "registration-8910") {
		t.Error("the token is where others can read it")
	}
	inside := func(args ...string) string {
		return e2e.Must(t, append([]string{"exec", runner.Name, "--"}, args...)...)
	}

	// The hooks remove a job's leftovers, regardless of the owner; tools and images stay.
	inside("sh", "-c", `mkdir -p actions-runner/_work/api/api actions-runner/_work/_tool actions-runner/_work/_temp && cd actions-runner/_work &&
		sudo chown -R 0:0 . && sudo sh -c 'echo x >api/api/root; echo x >_tool/kept; echo x >_temp/root' && sudo chown runner . api api/api _tool _temp && echo x >api/api/own && echo x >_temp/own && ln -s /etc link
		docker network create job >/dev/null && tar c --files-from /dev/null | docker import - kept:1 >/dev/null; docker create --name left --network job kept:1 /x >/dev/null`)
	inside("/usr/lib/runnerctl/hooks/job-completed.sh")
	got := inside("sh", "-c", "cd actions-runner/_work && find . -type f | sort; ls -d api/api; [ ! -e link ] && [ -e /etc/passwd ] && echo link gone; docker ps -aq; docker network ls -q --filter type=custom; docker images -q kept | wc -l")
	if want := "./_temp/own\n./_tool/kept\napi/api\nlink gone\n1\n"; got != want {
		t.Errorf("left:\n%swant\n%s", got, want)
	}
	// A request whose sender does not wait for the answer does not put later requests out of
	// step.
	inside("sh", "-c", "echo gone >/run/runnerctl/clean")
	inside("sh", "-c", "echo x >actions-runner/_work/api/api/again && /usr/lib/runnerctl/hooks/job-started.sh && [ ! -e actions-runner/_work/api/api/again ]")

	e2e.Must(t, "exec", runner.Name, "--", "docker", "system", "prune", "--all", "--volumes", "--force")
	if err := f.API.ContainerRestart(t.Context(), runner.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	listens(t, f.API, runner.ContainerID, 2)
	log = e2e.ContainerLog(t, f.API, runner.ContainerID)
	if strings.Count(log, "agent: configured") != 1 || !strings.Contains(log, "agent: stopped\n") {
		t.Errorf("log:\n%s\nwant %q once, and %q", log, "agent: configured", "agent: stopped\n")
	}
}

// Failures before the agent runs are logged, and end with a code that is not one of the
// agent's.
func TestAgentThatCanNotBeSetUp(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	once := fleet.Agent{Mode: fleet.Token, URL: "https://ghes.example.com/acme/api", Ephemeral: true}
	for credential, want := range map[string]string{
		"not-base64":           "agent: the credential on standard input is not a JIT configuration",
		"e30= ???":             "agent: the certificates on standard input are invalid",
		"e30=":                 "agent: the agent's file .runner is missing",
		"registration-refused": "agent: the registration with https://ghes.example.com/acme/api failed with code 99",
	} {
		agent := e2e.JITAgent
		if strings.HasPrefix(credential, "registration") {
			agent = once
		}
		if code, log := f.Ended(f.Create(agent, secret.New(credential))); code != 78 || !strings.Contains(log, want) {
			t.Errorf("%s: exit code %d, want 78; log:\n%s\nwant %q", credential, code, log, want)
		}
	}
}
