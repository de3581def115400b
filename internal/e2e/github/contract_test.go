//go:build linux

package github

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// alone returns the recipe of docs/image.md, as written by hand.
func alone(tag string, env ...string) (*container.Config, *container.HostConfig) {
	return &container.Config{Image: tag, Env: env},
		&container.HostConfig{
			CapDrop: []string{"ALL"}, CapAdd: []string{"SETUID", "SETGID"},
			SecurityOpt: []string{"seccomp=" + e2e.ReadFile(e2e.InRepository("dockerx/seccomp.json")), "apparmor=unconfined"},
			MaskedPaths: []string{}, ReadonlyPaths: []string{},
			Tmpfs:     map[string]string{"/run/user/1001": "uid=1001,gid=1001,mode=700,exec"},
			Resources: container.Resources{Devices: []container.DeviceMapping{{PathOnHost: "/dev/net/tun", PathInContainer: "/dev/net/tun", CgroupPermissions: "rwm"}}},
		}
}

// If a platform lacks a part of the recipe, the start names that part and no other.
func TestMissingPartOfTheRecipeIsNamed(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	for want, change := range map[string]func(*container.HostConfig){
		"start: missing: /dev/net/tun: --device /dev/net/tun":                                   func(h *container.HostConfig) { h.Devices = nil },
		"start: missing: a place for the start's own files: --tmpfs /run/user/1001:uid=1001":    func(h *container.HostConfig) { h.Tmpfs = nil },
		"start: missing: capabilities for newuidmap and newgidmap: --cap-add SETUID":            func(h *container.HostConfig) { h.CapAdd = nil },
		"start: missing: capabilities for newuidmap and newgidmap: --cap-add SETUID --cap":      func(h *container.HostConfig) { h.CapAdd = []string{"SETGID"} },
		"start: missing: privileges that newuidmap and newgidmap gain: run without --security-": func(h *container.HostConfig) { h.SecurityOpt = append(h.SecurityOpt, "no-new-privileges") },
		"start: missing: user namespaces: --security-opt seccomp=PROFILE":                       func(h *container.HostConfig) { h.SecurityOpt = h.SecurityOpt[1:] },
		"start: missing: an unmasked /proc: --security-opt systempaths=unconfined":              func(h *container.HostConfig) { h.MaskedPaths, h.ReadonlyPaths = nil, nil },
	} {
		config, host := alone(tag)
		change(host)
		id := e2e.StartAlone(t, api, config, host)
		code := e2e.AwaitEnd(t, api, id)
		log := e2e.ContainerLog(t, api, id)
		if code == 0 || strings.Count(log, "missing:") != 1 || !strings.Contains(log, want) {
			t.Errorf("code %d, want %q:\n%s", code, want, log)
		}
	}

	config, host := alone(tag)
	id := e2e.StartAlone(t, api, config, host)
	e2e.Eventually(t, time.Minute, "the whole recipe starts", func() bool { return daemonAnswers(t, api, id) })
}

// daemonAnswers reports whether the daemon answers to a plain docker exec, without runnerctl.
func daemonAnswers(t *testing.T, api *client.Client, id string) bool {
	t.Helper()
	made, err := api.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: []string{"/usr/lib/runnerctl/exec", "docker", "version"}})
	if err != nil {
		return false // the container has ended
	}
	if err := api.ContainerExecStart(t.Context(), made.ID, container.ExecStartOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		info, err := api.ContainerExecInspect(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !info.Running {
			return info.ExitCode == 0
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The environment variables of other runner images are read strictly.
func TestEnvironmentContractIsStrict(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	target, token := "REPO_URL=https://github.com/acme/api", "RUNNER_TOKEN=registration-8910"
	for want, env := range map[string][]string{
		"a credential is required":                                         {target},
		"more than one credential":                                         {target, token, "ACCESS_TOKEN=ghp_8910"},
		"APP_ID and APP_PRIVATE_KEY must be set together":                  {target, "APP_ID=1"},
		"APP_ID=one: expected a number":                                    {target, "APP_ID=one", "APP_PRIVATE_KEY=x"},
		"RUNNER_SCOPE=repo needs REPO_URL":                                 {token},
		"REPO_URL=acme/api: expected https://HOST/OWNER/REPO":              {token, "REPO_URL=acme/api"},
		"GITHUB_HOST is ghes.example.com":                                  {target, token, "GITHUB_HOST=ghes.example.com"},
		"RUNNER_SCOPE=galaxy: expected repo, org or enterprise":            {target, token, "RUNNER_SCOPE=galaxy"},
		"RUNNER_SCOPE=org needs ORG_NAME":                                  {target, token, "RUNNER_SCOPE=org"},
		"EPHEMERAL=maybe: expected true or false":                          {target, token, "EPHEMERAL=maybe"},
		"DISABLE_AUTO_UPDATE=false: this agent never":                      {target, token, "DISABLE_AUTO_UPDATE=false"},
		"DISABLE_AUTOMATIC_DEREGISTRATION=0: a runner can't remove itself": {target, token, "DISABLE_AUTOMATIC_DEREGISTRATION=0"},
		"LABELS has more than one line":                                    {target, token, "LABELS=a\nb"},
		"APP_LOGIN=a b: expected a user's":                                 {target, "APP_ID=1", "APP_PRIVATE_KEY=x", "APP_LOGIN=a b"},
	} {
		config, host := alone(f.Spec.Image, env...)
		id := e2e.StartAlone(t, f.API, config, host)
		if code, log := e2e.AwaitEnd(t, f.API, id), e2e.ContainerLog(t, f.API, id); code != 2 || !strings.Contains(log, "start: ") || !strings.Contains(log, want) || strings.Contains(log, "8910") {
			t.Errorf("%v: code %d, want %q:\n%s", env, code, want, log)
		}
	}
}

// Without runnerctl, the runner registers with the token, which only the container's first
// process holds.
func TestEnvironmentContract(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	config, host := alone(f.Spec.Image, "RUNNER_SCOPE=org", "ORG_NAME=acme", "RUNNER_TOKEN=registration-8910", "EPHEMERAL=1", "LABELS=gpu,large", "RUNNER_GROUP=builders", "NO_DEFAULT_LABELS=true",
		"RUNNER_NAME_PREFIX=image", "RANDOM_RUNNER_SUFFIX=false", "RUNNER_WORKDIR=/work", "GITHUB_HOST=ghes.example.com")
	config.Hostname = "alone"
	id := e2e.StartAlone(t, f.API, config, host)
	listens(t, f.API, id, 1)
	log := e2e.ContainerLog(t, f.API, id)
	if want := "agent: configured with --unattended --url https://ghes.example.com/acme --name image-alone --work /work --disableupdate --replace --labels gpu,large --runnergroup builders --ephemeral --no-default-labels\n"; !strings.Contains(log, want) {
		t.Errorf("no %q in\n%s", want, log)
	}
	var holders []string
	for _, path := range e2e.ProcessesOf(t, []string{id}) {
		if environ := e2e.ReadFile(strings.TrimSuffix(path, "cgroup") + "environ"); strings.Contains(environ, "registration-8910") {
			holders = append(holders, strings.Split(e2e.ReadFile(strings.TrimSuffix(path, "cgroup")+"cmdline"), "\x00")[0])
		}
	}
	if !slices.Equal(holders, []string{"/usr/lib/runnerctl/machine"}) || strings.Contains(log, "8910") {
		t.Errorf("the token is with %v, want the first process alone; log:\n%s\nwant no token there", holders, log)
	}
	if err := f.API.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, log := e2e.AwaitEnd(t, f.API, id), e2e.ContainerLog(t, f.API, id); code != 0 || !strings.Contains(log, "agent: stopped\n") {
		t.Errorf("exit code %d, want 0; log:\n%s\nwant %q", code, log, "agent: stopped\n")
	}
}

// The whole contract, with an agent that speaks to a GitHub: it registers with an access
// token, runs one job and is gone. The certificates come as a file mounted over the machine's
// own list; the proxy for all other hosts comes from the environment.
func TestEnvironmentContractRunsJob(t *testing.T) {
	api, github, _ := e2e.EnterpriseServer(t, ghsim.Options{}, "acme/api")
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	config, host := alone(tag, "REPO_URL="+github.URL+"/acme/api", "ACCESS_TOKEN="+github.ClassicToken(time.Hour, "repo"), "EPHEMERAL=true", "LABELS=alone", "RUNNER_NAME=by-hand",
		"HTTPS_PROXY=http://proxy.invalid:3128", "no_proxy=localhost,"+e2e.BridgeAddress(t))
	ca, err := filepath.Abs("ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(ca, 0o644); err != nil {
		t.Fatal(err)
	}
	for folder := filepath.Dir(ca); folder != os.TempDir(); folder = filepath.Dir(folder) { // runner has no rights here
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	host.Binds = append(host.Binds, ca+":/rootfs/etc/ssl/certs/ca-certificates.crt:ro")
	id := e2e.StartAlone(t, api, config, host)
	job, err := github.Queue(ghsim.Job{Name: "build", RunsOn: ghsim.Strings{"self-hosted", "alone"}, Steps: []ghsim.Step{{Run: `[ "$HTTPS_PROXY $(docker info --format '{{.HTTPSProxy}}')" = "http://proxy.invalid:3128 http://proxy.invalid:3128" ] && ! env | grep ghp_`}}})
	if err != nil {
		t.Fatal(err)
	}
	if result := e2e.AwaitJob(t, github, job); result.Conclusion != "success" || result.Runner != "by-hand" {
		t.Errorf("got %+v, want success on by-hand; log:\n%s", result, e2e.ContainerLog(t, api, id))
	}
	if code, log := e2e.AwaitEnd(t, api, id), e2e.ContainerLog(t, api, id); code != 0 || strings.Contains(log, "ghp_") {
		t.Errorf("exit code %d, want 0; log:\n%s\nwant no token there", code, log)
	}
	e2e.Eventually(t, time.Minute, "GitHub has no runner left", func() bool { return len(github.Runners()) == 0 })
}
