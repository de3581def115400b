//go:build linux

// Package export tests the exported definitions with the tools that read them.
package export

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	domain "github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// exported exports the fleet of a stand-in GitHub for a tool, with an image of a platform. The
// folder has the tool's name.
func exported(t *testing.T, tool, platform string) (api *client.Client, github *ghsim.Server, fleet string) {
	t.Helper()
	api, github, fleet = e2e.WithGitHub(t, ghsim.Options{}, "acme/api", "runners: {memory: 2g}")
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet", "--for", platform))
	e2e.Must(t, "export", tool, "--image", tag, "--out", tool)
	return api, github, fleet
}

// jit registers a runner with the stand-in and returns the line that the controller passes on.
func jit(t *testing.T, name string) string {
	t.Helper()
	_, line, err := e2e.GitHubClient(t).GenerateJIT(t.Context(), name, 1, []string{"self-hosted"}, "_work")
	if err != nil {
		t.Fatal(err)
	}
	return line.Reveal()
}

// runScript runs a runner by the script of docker-run, with a JIT configuration in its environment.
func runScript(t *testing.T, api *client.Client, name string) {
	t.Helper()
	if err := os.WriteFile("docker-run/runner.env", []byte("ACTIONS_RUNNER_INPUT_JITCONFIG="+jit(t, name)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = api.ContainerRemove(context.Background(), name, container.RemoveOptions{Force: true, RemoveVolumes: true}) // it is gone already, unless the test failed
	})
	script := exec.CommandContext(t.Context(), "./run.sh", name)
	script.Dir = "docker-run"
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("run.sh: %v: %s", err, out)
	}
}

// The script of docker-run runs a job with a JIT configuration in the environment, which no process
// of the job sees, and removes the container.
func TestScriptRunsAJob(t *testing.T) {
	api, github, _ := exported(t, "docker-run", "docker")
	name := "export-" + fmt.Sprint(os.Getpid())
	id := e2e.Queue(t, github, e2e.LookForJIT)
	runScript(t, api, name)
	result := e2e.AwaitJob(t, github, id)
	if result.Conclusion != "success" || !strings.Contains(result.Log, "hidden") {
		t.Errorf("the job: %s, want success and no process with the configuration\n%s", result.Conclusion, result.Log)
	}
	if _, err := api.ContainerInspect(t.Context(), name); err == nil {
		t.Errorf("container %s is still there, want it removed", name)
	}
}

// Compose reads the project as it is meant: the container has the security model of a runner of
// runnerctl.
func TestComposeReadsTheProject(t *testing.T) {
	_, _, fleet := exported(t, "compose", "docker")
	e2e.Must(t, e2e.Up(fleet, "--count", "1")...)
	runner := e2e.List(t, fleet)[0].Name
	e2e.Must(t, "cp", "compose", runner+":/tmp/project")
	e2e.Must(t, "exec", runner, "--", "touch", "/tmp/project/runner.env")
	got := e2e.Must(t, "exec", runner, "--", "docker", "compose", "--project-directory", "/tmp/project", "config")
	for _, want := range []string{"seccomp=seccomp.json", "systempaths=unconfined", "- SETUID", "- SETGID", "target: /dev/net/tun", "pids_limit: 32768", "network_mode: bridge"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in compose's reading of the project:\n%s", want, got)
		}
	}
}

// compose runs docker compose on the exported project, with this machine's engine. The program is the
// image's own.
func compose(t *testing.T, api *client.Client, tag string, args ...string) {
	t.Helper()
	project, err := filepath.Abs("compose")
	if err != nil {
		t.Fatal(err)
	}
	id := e2e.StartAlone(t, api,
		&container.Config{Image: tag, Entrypoint: append([]string{"docker", "compose", "--project-directory", project}, args...)},
		&container.HostConfig{Binds: []string{"/var/run/docker.sock:/var/run/docker.sock", project + ":" + project + ":ro"}})
	if code := e2e.AwaitEnd(t, api, id); code != 0 {
		t.Errorf("compose %v: exit code %d\n%s", args, code, e2e.ContainerLog(t, api, id))
	}
}

// A project that compose starts is a runner with the security model of runnerctl: it runs a job.
func TestComposeRunsAJob(t *testing.T) {
	api, github, fleet := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.WriteSettings(t, github, "acme/api", "name: "+fleet, "runners: {memory: 2g, count: 1}", fmt.Sprintf("image: {agent: {archive: %s}}", agenttest.Archive(t)))
	tag := strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet"))
	e2e.Must(t, "export", "compose", "--image", tag, "--out", "compose")
	const tool = "runnerctl-test/compose:1"
	if err := e2e.BuildImage(t, api, tool, "FROM "+tag+" AS runner\nFROM debian:trixie-slim\nCOPY --from=runner /rootfs/usr/bin/docker /usr/bin/\nCOPY --from=runner /rootfs/usr/libexec/docker/cli-plugins/docker-compose /usr/libexec/docker/cli-plugins/\n"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("compose/runner.env", []byte("ACTIONS_RUNNER_INPUT_JITCONFIG="+jit(t, fleet)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := e2e.Queue(t, github, "docker version && sleep 5")
	compose(t, api, tool, "up", "--detach")
	made, err := api.ContainerList(t.Context(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.compose.project="+fleet))})
	t.Cleanup(func() {
		for _, one := range made {
			_ = api.ContainerRemove(context.Background(), one.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}) // it is gone already, unless the test failed
		}
	})
	if err != nil || len(made) != 1 {
		t.Fatalf("%d containers, %v, want one", len(made), err)
	}
	e2e.InspectSecurity(t, api, domain.Runner{ContainerID: made[0].ID})
	result := e2e.AwaitJob(t, github, id)
	compose(t, api, tool, "down", "--volumes")
	if result.Conclusion != "success" || result.Runner != fleet {
		t.Errorf("the job: %s on %s, want success on %s\n%s", result.Conclusion, result.Runner, fleet, result.Log)
	}
}

// systemd accepts the unit but for the script, which is in a folder of the host.
func TestSystemdReadsTheUnit(t *testing.T) {
	exported(t, "systemd", "docker")
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) != 1 {
		t.Fatalf("units %v, %v, want one", units, err)
	}
	out, _ := exec.CommandContext(t.Context(), "systemd-analyze", "verify", units[0]).CombinedOutput() // it fails for the script
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "run.sh is not executable: No such file or directory") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
	if len(out) == 0 {
		t.Error("systemd-analyze does not mention the script, want it to")
	}
}

// A machine with the ids of a pod works: sudo, an inner container, and files of nobody.
func TestMachineWithTheIDsOfAPod(t *testing.T) {
	api, github, _ := exported(t, "docker-run", "kubernetes")
	id := e2e.Queue(t, github, "cat /proc/self/uid_map && sudo install -o nobody -g nogroup /dev/null /tmp/last && stat -c 'owner %u' /tmp/last && docker info --format 'daemon {{.ServerVersion}}'")
	runScript(t, api, "export-pod-"+fmt.Sprint(os.Getpid()))
	result := e2e.AwaitJob(t, github, id)
	for _, want := range []string{"64535          1       1000", "owner 65534", "daemon 2"} {
		if !strings.Contains(result.Log, want) {
			t.Errorf("no %q in the job's log, %s:\n%s", want, result.Conclusion, result.Log)
		}
	}
}
