//go:build linux && long

package doctor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine/canary"
	"github.com/runnerctl/runnerctl/internal/machine/embedded"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
)

// Each attempt succeeds in a container without any of the walls. So if a runner blocks it,
// the walls do, not a mistake in the attempt. All of this happens on a private engine, and is
// harmless by construction (scripts/escape/Escape.pm). The container does not use the runner
// image, so anything found of that image belongs to a real runner.
func TestEveryAttemptCanSucceed(t *testing.T) {
	machine := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	private := enginetest.Start(t, enginetest.Options{DiskMiB: 3000})
	private.CopyImage(t, machine, tag, weakenedImage)
	given := hostCanary(t, private)
	given["disk"] = e2e.LoopDevice(t)
	key, remove, err := selftest.PlaceKey(given["token"])
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	given["key"] = key

	t.Setenv("DOCKER_HOST", private.Host)
	t.Chdir(t.TempDir())
	e2e.Must(t, "up", "--progress", "quiet")
	runner := e2e.List(t, "ci")[0]
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	given["outer"] = "canary-" + rand.Text()
	given["outerfile"] = "/run/user/1001/" + given["outer"]
	around, err := selftest.PlaceCanary(runner.Name, canary.Program, given["outer"], given["outerfile"], func(command dockerx.Command) (int, error) {
		return engine.ExecOuter(t.Context(), runner, command)
	})
	if err != nil {
		t.Fatal(err)
	}
	given["outerloopback"] = around.Loopback

	found := map[string]doctor.Attempt{}
	for _, one := range []weakened{
		{hostPID: true, script: "mknod /dev/spare c 1 8; exec perl /escape/battery -engine-socket -chroot-walk -setuid -outer-loopback"}, // random, by another name
		// If the host's processes were visible, the engine would look like a runner's own.
		{socket: strings.TrimPrefix(private.Host, "unix://"), script: "exec perl /escape/battery engine-socket"},
		// Run in a tree that is not the whole one.
		{script: "mkdir /part; cp -r /bin /lib /lib64 /usr /escape /part; mkdir /part/tmp; exec chroot /part perl /escape/battery chroot-walk"},
		// Run as another user, with a setuid file that the real root owns.
		{script: "exec setpriv --reuid 1001 --regid 1001 --clear-groups perl /escape/battery setuid"},
		{network: container.NetworkMode("container:" + runner.ContainerID), script: "exec perl /escape/battery outer-loopback"},
	} {
		for _, attempt := range one.run(t, private.API, given) {
			found[attempt.ID] = attempt
		}
	}
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	var lacking []string
	for _, wanted := range all {
		attempt, tried := found[wanted.ID]
		if reason := notOnEveryKernel[wanted.ID]; reason != "" && attempt.Verdict == doctor.NotAttempted && attempt.Reason == reason {
			lacking = append(lacking, wanted.ID+": "+reason)
			continue
		}
		if !tried || attempt.Verdict != doctor.Escaped {
			t.Errorf("%s: %s: %s", wanted.ID, attempt.Verdict, attempt.Reason)
		}
	}
	t.Logf("%d of %d attempts succeed without walls; on this kernel nobody could try\n%s", len(all)-len(lacking), len(all), strings.Join(lacking, "\n"))
}

func attachAndRun(t *testing.T, api *client.Client, id, input string) (stdout, stderr string) {
	t.Helper()
	attached, err := api.ContainerAttach(t.Context(), id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	if err := api.ContainerStart(t.Context(), id, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(attached.Conn, input); err != nil {
		t.Fatal(err)
	}
	if err := attached.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, attached.Reader); err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

// hostCanary places the targets of the attempts in the private engine's own namespaces.
func hostCanary(t *testing.T, engine *enginetest.Engine) map[string]string {
	t.Helper()
	token := "canary-" + rand.Text()
	config := &container.Config{
		Image: weakenedImage, User: "0:0", Env: []string{"CANARY=" + token}, OpenStdin: true,
		Entrypoint: []string{"/canary", canary.Argument, token, "/root/" + token}, Cmd: []string{},
	}
	program := e2e.InRepository("internal/machine/embedded/programs/" + embedded.Prefix + runtime.GOARCH)
	host := &container.HostConfig{
		NetworkMode: "host", IpcMode: "host",
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: program, Target: "/canary", ReadOnly: true}},
	}
	made, err := engine.API.ContainerCreate(t.Context(), config, host, nil, nil, "canary")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the canary's end removes the shared memory, which belongs to the machine
		attached, err := engine.API.ContainerAttach(context.Background(), made.ID, container.AttachOptions{Stream: true, Stdin: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer attached.Close()
		_, _ = io.WriteString(attached.Conn, "end\n")
		waited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended, failed := engine.API.ContainerWait(waited, made.ID, container.WaitConditionNotRunning)
		select {
		case <-ended:
		case err := <-failed:
			t.Error(err)
		}
	})
	if err := engine.API.ContainerStart(t.Context(), made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	given := map[string]string{"token": token, "neighbour": "127.0.0.1", "file": "/root/" + token}
	var port, local, key string
	e2e.Eventually(t, 20*time.Second, "the canary tells", func() bool {
		n, _ := fmt.Sscan(e2e.ContainerLog(t, engine.API, made.ID), &port, &local, &key)
		return n == 3
	})
	given["port"], given["published"], given["loopback"], given["otherloopback"], given["shm"] = port, port, local, local, key
	return given
}

// weakenedImage has the programs that the attempts need, and no part of a runner.
const weakenedImage = "debian:trixie-slim"

// weakened is a container without walls.
type weakened struct {
	script  string
	hostPID bool
	network container.NetworkMode // the host's if empty
	socket  string                // socket of an engine, mounted where jobs look for one
}

func (w weakened) run(t *testing.T, api *client.Client, given map[string]string) []doctor.Attempt {
	t.Helper()
	host := &container.HostConfig{
		CapAdd: []string{"ALL"}, CapDrop: []string{"SYS_RESOURCE"}, // which not every machine can give
		SecurityOpt: []string{"seccomp=unconfined", "apparmor=unconfined"},
		MaskedPaths: []string{}, ReadonlyPaths: []string{},
		NetworkMode: cmp.Or(w.network, "host"), IpcMode: "host", CgroupnsMode: "host",
		Resources: container.Resources{DeviceCgroupRules: []string{"a *:* rwm"}},
		Mounts:    []mount.Mount{{Type: mount.TypeBind, Source: "/sys", Target: "/sys"}}, // the engine's own mount is read-only
	}
	if w.hostPID {
		host.PidMode = "host"
	}
	if w.socket != "" {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: w.socket, Target: "/var/run/docker.sock"})
	}
	config := &container.Config{
		Image: weakenedImage, User: "0:0", Entrypoint: []string{"sh", "-euc", w.script}, Cmd: []string{},
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}
	weak, err := api.ContainerCreate(t.Context(), config, host, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = api.ContainerRemove(context.Background(), weak.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
	if err := api.CopyToContainer(t.Context(), weak.ID, "/", e2e.EscapeArchive(t), container.CopyToContainerOptions{}); err != nil {
		t.Fatal(err)
	}
	var input strings.Builder
	for key, value := range given {
		fmt.Fprintf(&input, "%s=%s\n", key, value)
	}
	out, errs := attachAndRun(t, api, weak.ID, input.String())
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	made := slices.DeleteFunc(doctor.ReadAttempts("weakened", out, all, nil), func(one doctor.Attempt) bool { return !strings.Contains("\n"+out, "\n"+one.ID+"\t") })
	if len(made) == 0 {
		t.Fatalf("no attempt was made: %s%s", out, errs)
	}
	return made
}
