//go:build linux

package machine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// onDemand starts a runner whose image is proven, and whose daemon therefore starts on demand.
func onDemand(t *testing.T, settings string) (runner, name string) {
	t.Helper()
	name = e2e.NewFleet(t, e2e.Engine(t))
	e2e.WriteFile(t, "runnerctl.yaml", settings)
	e2e.Must(t, e2e.Up(name, "--prove")...)
	return e2e.List(t, name)[0].Name, name
}

// daemons lists the machine's own daemons, as root of the machine.
func daemons(t *testing.T, runner string) string {
	t.Helper()
	_, stdout, _ := e2e.Runnerctl(t.Context(), "exec", "--root", runner, "--", "pgrep", "-P", "1", "-x", "dockerd|containerd")
	return strings.TrimSpace(stdout)
}

// A daemon starts when the first client connects, and no client is lost.
func TestDockerStartsOnDemand(t *testing.T) {
	runner, name := onDemand(t, "docker: {start: on-demand, idleStop: 2s}\n")
	asleep := func() bool { return daemons(t, runner) == "" }
	if one := e2e.List(t, name)[0]; !one.Ready || one.DockerVersion != "" || one.Busy || !asleep() {
		t.Fatalf("got %+v, want a ready runner whose daemons have not run", one)
	}
	if table := e2e.Must(t, "ps", "--fleet", name); !strings.Contains(table, "on demand") {
		t.Errorf("ps:\n%s\nwant on demand", table)
	}
	for _, first := range []struct{ name, script string }{
		{"one client", `docker version --format '{{.Server.Version}}'`},
		{"ten clients at once", `all=; for i in $(seq 10); do docker version --format '{{.Server.Version}}' & all="$all $!"; done; for one in $all; do wait $one; done`},
		{"a client that gives up", `timeout --signal KILL 0.05 docker version || true; docker version`},
		{"a client that sends nothing more", `perl -MSocket -e '
			socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un("/run/docker.sock")) or die; syswrite S, "GET /_ping HTTP/1.0\r\n\r\n"; shutdown S, 1; local $/; print <S>' | grep OK`},
		{"a restart by hand", `sudo service docker restart && docker version`},
		{"a moved socket", `sudo mv /run/docker.sock /run/x; for i in $(seq 50); do [ -S /run/docker.sock ] && break; sleep 0.1; done; docker version`},
	} {
		t.Run(first.name, func(t *testing.T) {
			e2e.Eventually(t, 30*time.Second, "the daemons sleep", asleep)
			e2e.Must(t, "exec", runner, "--", "bash", "-euc", first.script)
			if one := e2e.List(t, name)[0]; one.DockerVersion == "" || one.Restarts != 0 && first.name != "a restart by hand" {
				t.Errorf("got %+v, want a daemon that has run", one)
			}
		})
	}
	t.Run("a running container", func(t *testing.T) {
		e2e.Must(t, "exec", runner, "--", "bash", "-euc", e2e.Prelude+"busybox_image; docker run --detach --name used bb sleep 1000")
		time.Sleep(6 * time.Second)
		if asleep() {
			t.Error("the daemons stopped while a container ran")
		}
		e2e.Must(t, "exec", runner, "--", "docker", "rm", "--force", "used")
		e2e.Eventually(t, 30*time.Second, "the daemons sleep", asleep)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if code, _, stderr := e2e.Runnerctl(ctx, "down", "--fleet", name); code != 0 {
		t.Errorf("down: code %d, %s", code, stderr)
	}
}

// A daemon that fails at its first use answers with its last words.
func TestDockerOnDemandFails(t *testing.T) {
	runner, name := onDemand(t, "docker: {start: on-demand}\n")
	for _, broken := range []struct{ name, script, want string }{
		{"settings of a job", `echo '{"no-such-setting": 1}' | sudo tee /etc/docker/daemon.json >/dev/null; docker version`, "no-such-setting"},
		{"settings that are repaired", `sudo rm /etc/docker/daemon.json; for i in $(seq 100); do docker version && exit; sleep 0.1; done; exit 1`, ""},
	} {
		code, _, stderr := e2e.Runnerctl(t.Context(), "exec", runner, "--", "bash", "-uc", broken.script)
		if (code == 0) != (broken.want == "") || broken.want != "" && (!strings.Contains(stderr, "the Docker daemon of this runner failed: dockerd does not start: ") || !strings.Contains(stderr, broken.want)) {
			t.Errorf("%s: code %d, stderr %q, want %q", broken.name, code, stderr, broken.want)
		}
		if one := e2e.List(t, name)[0]; broken.want != "" && !strings.Contains(one.Problem, broken.want) || broken.want == "" && one.Problem != "" {
			t.Errorf("%s: problem %q, want %q", broken.name, one.Problem, broken.want)
		}
	}
}

// An image or a host with a fault is found by up, although daemons start later.
func TestUpProvesTheImage(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.WriteFile(t, "runnerctl.yaml", "docker: {start: on-demand}\nrunners: {dockerd: {no-such-setting: 1}}\n")
	code, _, stderr := e2e.Runnerctl(t.Context(), e2e.Up(name, "--prove", "--timeout", "40s")...)
	if code != commands.ExitFailure || !strings.Contains(stderr, "no-such-setting") {
		t.Errorf("code %d, stderr:\n%s\nwant %d and the daemon's last words", code, stderr, commands.ExitFailure)
	}
}

// The daemon of a runner of one job starts with the job, and the job does not notice.
func TestJobWakesDocker(t *testing.T) {
	_, github, name := e2e.WithGitHub(t, ghsim.Options{}, "acme/api")
	e2e.Must(t, e2e.Up(name, "--count", "2", "--prove")...)
	for _, one := range e2e.List(t, name) {
		if !one.Ready || one.DockerVersion != "" {
			t.Errorf("got %+v, want a ready runner whose daemon has not run", one)
		}
	}
	result := e2e.AwaitJob(t, github, e2e.Queue(t, github, "docker version --format '{{.Server.Version}}'"))
	if result.Conclusion != "success" {
		t.Errorf("got %+v, want success", result)
	}
	// A daemon that does not start fails the job with the reason, and the runner shows it.
	for _, one := range e2e.List(t, name) {
		if one.Name != result.Runner {
			e2e.Must(t, "exec", "--root", one.Name, "--", "mv", "/usr/sbin/dockerd", "/usr/sbin/moved")
		}
	}
	result = e2e.AwaitJob(t, github, e2e.Queue(t, github, "docker version"))
	if result.Conclusion != "failure" || !strings.Contains(result.Log, "the Docker daemon of this runner failed: dockerd does not start: ") {
		t.Errorf("got %s, log:\n%s\nwant a failure with the daemon's last words", result.Conclusion, result.Log)
	}
}
