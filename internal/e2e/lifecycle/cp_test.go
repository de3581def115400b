//go:build linux

package lifecycle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// cp copies in both directions like docker cp. A job, even as root, cannot misuse it.
func TestCp(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name

	e2e.Step(t, "files go into a runner", func(t *testing.T) { cpIntoARunner(t, runner) })
	e2e.Step(t, "files come out of a runner", func(t *testing.T) { cpOutOfARunner(t, runner) })
	t.Run("a tar stream comes out and goes in", func(t *testing.T) { cpStreams(t, runner) })
	t.Run("links of a job lead within its machine", func(t *testing.T) { cpThroughLinks(t, api, runner) })
	t.Run("a job that replaces tar writes nothing outside", func(t *testing.T) { cpWithAHostileTar(t, runner) })
	t.Run("a stopped runner is an error", func(t *testing.T) {
		if err := api.ContainerStop(t.Context(), runner, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		cpFails(t, "is exited", "src", runner+":x")
	})
}

// inRunner runs a shell script as a job would and returns its output.
func inRunner(t *testing.T, runner, script string) string {
	t.Helper()
	return e2e.Must(t, "exec", runner, "--", "sh", "-c", script)
}

// cpFails fails unless cp ends with an error that has the problem's words.
func cpFails(t *testing.T, problem string, args ...string) {
	t.Helper()
	if code, stdout, stderr := e2e.Runnerctl(t.Context(), append([]string{"cp"}, args...)...); code != commands.ExitFailure || stdout != "" || !strings.Contains(stderr, problem) {
		t.Errorf("cp %v: exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q", args, code, commands.ExitFailure, stdout, stderr, problem)
	}
}

// writeMode writes a file of the given mode and makes its folder.
func writeMode(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func cpIntoARunner(t *testing.T, runner string) {
	writeMode(t, "src/plain", "text", 0o640)
	writeMode(t, "src/sub/setuid", "#!", 0o755|os.ModeSetuid)
	e2e.Must(t, "cp", "src", runner+":")
	if got, want := inRunner(t, runner, "find src -printf '%u:%g %m %p\n' | sort -k3"), "runner:runner 755 src\nrunner:runner 640 src/plain\nrunner:runner 755 src/sub\nrunner:runner 755 src/sub/setuid\n"; got != want {
		t.Errorf("the copy of src:\n%s\nwant\n%s", got, want)
	}
	e2e.Must(t, "cp", "src", runner+":src") // into an existing folder
	e2e.Must(t, "cp", "src/.", runner+":new")
	e2e.Must(t, "cp", "src/plain", runner+":new/sub/")
	e2e.Must(t, "cp", "src/plain", runner+":as named")
	inRunner(t, runner, "echo old >target; ln -s target link")
	e2e.Must(t, "cp", "src/plain", runner+":link")
	e2e.Must(t, "cp", "src/plain", runner+":/dev/shm") // a filesystem of the machine's own
	if got, want := inRunner(t, runner, "ls -d src/src/plain new/plain new/sub/plain 'as named' /dev/shm/plain; readlink link; cat target"), "/dev/shm/plain\nas named\nnew/plain\nnew/sub/plain\nsrc/src/plain\ntarget\ntext"; got != want {
		t.Errorf("the copies:\n%s\nwant\n%s", got, want)
	}
	cpFails(t, "Permission denied", "src/plain", runner+":/etc/plain")
	cpFails(t, "no such folder", "src/plain", runner+":nosuch/")
	cpFails(t, "nosuch", "src/plain", runner+":nosuch/plain")
	cpFails(t, "nosuch", "nosuch", runner+":x")
	cpFails(t, "can't copy a folder to a file", "src", runner+":as named")
	cpFails(t, "no runner named nosuch", "src", "nosuch:x")
	e2e.Must(t, "cp", "--root", "src/plain", runner+":/etc/plain")
	if got := inRunner(t, runner, "stat -c '%U %a' /etc/plain"); got != "root 640\n" {
		t.Errorf("owner and mode of a copy by --root: %q, want %q", got, "root 640\n")
	}
}

// cpOutOfARunner makes the folder job in the runner and copies it.
func cpOutOfARunner(t *testing.T, runner string) {
	inRunner(t, runner, `mkdir -p job/sub; echo result >job/sub/result; chmod 6755 job/sub/result; ln -s sub/result job/good; ln -s /etc/passwd job/bad; mkfifo job/fifo`)
	if err := os.Mkdir("there", 0o755); err != nil {
		t.Fatal(err)
	}
	e2e.Must(t, "cp", runner+":job", "there")
	e2e.Must(t, "cp", runner+":job/", "job2/")
	e2e.Must(t, "cp", runner+":job/.", "there")
	for _, path := range []string{"there/job/sub/result", "job2/good", "there/sub/result"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o755 || e2e.ReadFile(path) != "result\n" {
			t.Errorf("%s: %v, %v, content %q, want mode 0755 and %q", path, info, err, e2e.ReadFile(path), "result\n")
		}
	}
	for _, path := range []string{"there/job/bad", "there/job/fifo"} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want %v", path, err, os.ErrNotExist)
		}
	}
	e2e.Must(t, "cp", runner+":job/good", "good", "-L")
	if got := e2e.ReadFile("good"); got != "result\n" {
		t.Errorf("cp -L of a link: %q, want %q", got, "result\n")
	}
	cpFails(t, "a symbolic link out of the destination", runner+":job/bad", "bad")
	cpFails(t, "nosuch: Cannot stat", runner+":nosuch", "x")
	cpFails(t, "Permission denied", runner+":/etc/shadow", "x")
	cpFails(t, "no such folder", runner+":job/good", "nosuch/", "-L")
	cpFails(t, "no such file", runner+":job", "nosuch/x")
	e2e.Must(t, "cp", "--root", runner+":/etc/shadow", "shadow")
	if got := e2e.ReadFile("shadow"); !strings.Contains(got, "runner:") {
		t.Errorf("shadow: %s, want a line of runner:", got)
	}
}

// cpStreams copies job to standard output, and into new from standard input.
func cpStreams(t *testing.T, runner string) {
	stream := e2e.Must(t, "cp", runner+":job", "-")
	names := ""
	for reader := tar.NewReader(strings.NewReader(stream)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || header.Mode&^0o777 != 0 {
			t.Fatalf("%+v, %v, want no bits of the mode but 0777", header, err)
		}
		names += header.Name + " "
	}
	if !strings.Contains(names, "job/sub/result") {
		t.Errorf("names in the stream: %s, want job/sub/result", names)
	}
	var errs bytes.Buffer
	streams := ui.Streams{In: strings.NewReader(stream), Out: io.Discard, Err: &errs}
	if code := commands.Run(t.Context(), session.Session{Streams: streams, Env: os.Getenv, GOOS: "linux"}, []string{"runnerctl", "cp", "-", runner + ":new"}); code != 0 {
		t.Errorf("exit code %d, want 0: %s", code, errs.String())
	}
	if got, want := inRunner(t, runner, "cat new/job/sub/result; stat -c '%U %a' new/job/sub/result"), "result\nrunner 755\n"; got != want {
		t.Errorf("content, owner and mode: %q, want %q", got, want)
	}
}

// cpThroughLinks copies through links that would lead into the outer tree if they were not
// resolved in the job's own machine.
func cpThroughLinks(t *testing.T, api *client.Client, runner string) {
	inRunner(t, runner, `ln -s / top; ln -s /usr/lib/runnerctl lib; echo "job's own" | sudo tee /usr/lib/runnerctl/start >/dev/null; sudo chown runner /usr/lib/runnerctl`)
	e2e.Must(t, "cp", runner+":lib/start", "start")
	e2e.Must(t, "cp", runner+":top/usr/lib/runnerctl/start", "start2")
	if e2e.ReadFile("start") != "job's own\n" || e2e.ReadFile("start2") != "job's own\n" {
		t.Errorf("the outer tree was read: %q and %q, want %q", e2e.ReadFile("start"), e2e.ReadFile("start2"), "job's own\n")
	}
	e2e.Must(t, "cp", "src/plain", runner+":lib/machine")
	e2e.Must(t, "cp", "src/plain", runner+":top/dev/shm/outer")
	for _, path := range []string{"/usr/lib/runnerctl/machine", "/dev/shm/outer"} {
		outer, _, err := api.CopyFromContainer(t.Context(), runner, path)
		if err != nil {
			continue // as expected for the second
		}
		text, err := io.ReadAll(outer)
		_ = outer.Close()
		if err != nil || path == "/dev/shm/outer" || !bytes.Contains(text, []byte("RUNNERCTL_EXEC")) {
			t.Errorf("%s of the outer tree: %.200q, %v, want it unchanged", path, text, err)
		}
	}
	if got := inRunner(t, runner, "cat /usr/lib/runnerctl/machine"); got != "text" {
		t.Errorf("the job's own file: %q, want %q", got, "text")
	}
}

// cpWithAHostileTar copies with a tar of the job's own that sends an arbitrary stream.
func cpWithAHostileTar(t *testing.T, runner string) {
	writeMode(t, "elsewhere/secret", "kept", 0o600)
	hostile := func(script string) {
		inRunner(t, runner, "printf '%s\\n' '#!/bin/sh' "+"'"+script+"' | sudo tee /usr/local/bin/tar >/dev/null; sudo chmod 755 /usr/local/bin/tar")
	}
	hostile(`cd /tmp && mkdir -p h/job && ln -sfn ../elsewhere h/job/l && mkdir -p h2/job/l && echo evil >h2/job/l/secret && /usr/bin/tar -c -C h job -C ../h2 job/l/secret`)
	e2e.Must(t, "cp", runner+":job", "hostile")
	hostile(`cd /tmp && mkdir -p h3/elsewhere && echo evil >h3/elsewhere/secret && /usr/bin/tar -c -C h job -C ../h3 elsewhere`)
	cpFails(t, "outside the requested path", runner+":job", "hostile2")
	hostile(`cd /tmp && /usr/bin/tar -c -P --transform s,^h3,job/../..,  h h3`)
	cpFails(t, "in the archive", runner+":job", "hostile3")
	hostile(`yes`)
	cpFails(t, "archive/tar", runner+":job", "hostile4")
	hostile(`/usr/bin/tar -c /etc/hosts; yes`)
	cpFails(t, "continues after", runner+":job", "hostile5")
	e2e.Must(t, "exec", runner, "--", "sh", "-c", "mkdir closed && echo x >closed/üñí && chmod 0 closed/üñí")
	hostile(`exec /usr/bin/tar "$@"`)
	cpFails(t, "üñí: Cannot open: Permission denied", runner+":closed", "closed")
	cpFails(t, "/dev/null is not a file, folder or link", "/dev/null", runner+":null")
	hostile(`printf "\\033]0;title\\007tar: bad\\n" >&2; exit 2`)
	cpFails(t, "bad", runner+":job", "hostile6")
	if got := e2e.ReadFile("elsewhere/secret"); got != "kept" {
		t.Errorf("the job wrote %q outside, want %q", got, "kept")
	}
	if got := e2e.ReadFile("hostile/l/secret"); got != "evil\n" {
		t.Errorf("the copied file: %q, want %q", got, "evil\n")
	}
}

// cp reads standard input as a tar archive, also if it is packed with gzip, is no archive, or
// never comes.
func TestCpOfStandardInput(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name
	cp := func(ctx context.Context, in io.Reader) (code int, stderr string) {
		var errs bytes.Buffer
		s := session.Session{Streams: ui.Streams{In: in, Out: io.Discard, Err: &errs}, Env: os.Getenv, GOOS: "linux"}
		code = commands.Run(ctx, s, []string{"runnerctl", "cp", "-", runner + ":"})
		return code, errs.String()
	}
	var packed bytes.Buffer
	compressed := gzip.NewWriter(&packed)
	out := tar.NewWriter(compressed)
	if err := out.WriteHeader(&tar.Header{Name: "packed", Mode: 0o600, Size: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	for _, one := range []io.Closer{out, compressed} {
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if code, stderr := cp(t.Context(), &packed); code != 0 || !strings.Contains(stderr, "copied 1 file (4B)") {
		t.Errorf("exit code %d, want 0; stderr:\n%s\nwant %q", code, stderr, "copied 1 file (4B)")
	}
	if got := e2e.Must(t, "exec", runner, "--", "cat", "packed"); got != "text" {
		t.Errorf("the copied file: %q, want %q", got, "text")
	}
	if code, stderr := cp(t.Context(), strings.NewReader("garbage\n")); code != commands.ExitFailure || !strings.Contains(stderr, "standard input: not a tar archive") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "standard input: not a tar archive")
	}

	quiet, never := io.Pipe()
	defer func() { _ = never.Close() }()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(time.Second, func() { cancel(commands.ErrInterrupted) })
	begun := time.Now()
	if code, stderr := cp(ctx, quiet); code != commands.ExitInterrupted || time.Since(begun) > 10*time.Second {
		t.Errorf("exit code %d after %s, want %d within 10s: %s", code, time.Since(begun), commands.ExitInterrupted, stderr)
	}
}

// inspect shows the details of a runner at work, after the restart of a daemon, and after the
// runner's end.
func TestInspect(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	of := inspect(t, runner.Name)

	t.Run("as JSON", func(t *testing.T) {
		inspectedRunner(t, api, of, name, runner)
		inspectedMachine(t, of)
	})
	t.Run("as a table", func(t *testing.T) {
		table := e2e.Must(t, "inspect", runner.Name)
		for _, want := range []string{runner.Name + "\n", "  inner        " + runner.DockerVersion, "  docker0      " + of.Network.Bip, "1–65536 inside are 100000–165535 on the host", "  dockerd      "} {
			if !strings.Contains(table, want) {
				t.Errorf("no %q in\n%s", want, table)
			}
		}
		if strings.Contains(table, "\x1b") {
			t.Errorf("the table has colours: %q, want none", table)
		}
	})
	e2e.Step(t, "after the restart of a daemon", func(t *testing.T) {
		e2e.Must(t, "exec", "--root", runner.Name, "--", "pkill", "-KILL", "-x", "dockerd")
		e2e.Eventually(t, time.Minute, "inspect shows the restart", func() bool {
			of := inspect(t, runner.Name)
			return of.Ready && len(of.DaemonRestarts) == 1 && of.DaemonRestarts[0].Name == "dockerd"
		})
	})
	t.Run("after the runner's end", func(t *testing.T) {
		if err := api.ContainerKill(t.Context(), runner.Name, "KILL"); err != nil {
			t.Fatal(err)
		}
		// A runner killed from outside stays down, and inspect still shows the engine's data.
		e2e.Eventually(t, time.Minute, "inspect shows the end", func() bool { return inspect(t, runner.Name).State == "exited" })
		if of := inspect(t, runner.Name); of.ExitCode != 137 || of.Finished == nil || of.Ready || of.Limits.Memory != 4<<30 || of.Phases == nil {
			t.Errorf("got %+v, want exit code 137, the time of the end, phases, 4 GiB of memory, and not ready", of)
		}
	})
	t.Run("an unknown name", func(t *testing.T) {
		if code, stdout, stderr := e2e.Runnerctl(t.Context(), "inspect", "nosuch"); code != commands.ExitFailure || stdout != "" || !strings.Contains(stderr, "runnerctl ps --all") {
			t.Errorf("exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q", code, commands.ExitFailure, stdout, stderr, "runnerctl ps --all")
		}
	})
}

// inspect returns the details of a runner.
func inspect(t *testing.T, name string) (of fleet.Details) {
	t.Helper()
	if err := json.Unmarshal([]byte(e2e.Must(t, "inspect", name, "-o", "json")), &of); err != nil {
		t.Fatal(err)
	}
	return of
}

// inspectedRunner compares the details with the engine's view of the runner and with ps.
func inspectedRunner(t *testing.T, api *client.Client, of fleet.Details, name string, runner fleet.Runner) {
	t.Helper()
	engine, err := api.ContainerInspect(t.Context(), runner.Name)
	if err != nil {
		t.Fatal(err)
	}
	version, err := api.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if of.Name != runner.Name || of.Fleet != name || of.Role != fleet.Member || !of.Ready || of.Busy || of.Pinned != engine.Image || of.Volume != runner.Name+"-data" || len(of.Spec) != 12 {
		t.Errorf("got %+v, want %s of fleet %s, a member, ready and idle, of image %s, with a volume and a spec of 12 digits", of.Runner, runner.Name, name, engine.Image)
	}
	if of.Engine.Outer != version.Version || of.Engine.Inner != runner.DockerVersion || of.Engine.StorageDriver != "overlay2" || of.Engine.CgroupDriver != "none" {
		t.Errorf("engines: %+v, want %s outside, %s inside, overlay2, cgroup driver none", of.Engine, version.Version, runner.DockerVersion)
	}
	if want := (fleet.Limits{CPUs: float64(engine.HostConfig.NanoCPUs) / 1e9, Memory: 4 << 30, Pids: 32768, Shm: 1 << 30}); of.Limits != want || want.CPUs == 0 {
		t.Errorf("limits: %+v, want %+v, and CPUs not 0", of.Limits, want)
	}
}

// inspectedMachine checks a healthy runner's network, ids, and start.
func inspectedMachine(t *testing.T, of fleet.Details) {
	t.Helper()
	if of.Network.Driver != "slirp4netns" || of.Network.MTU != 21885 || of.Network.MTUs["tap0"] != 21885 || of.Network.MTUs["docker0"] != 21885 || of.Network.Bip == "" || of.Network.Pool == "" {
		t.Errorf("network: %+v, want slirp4netns, an MTU of 21885 for tap0 and docker0, a bip and a pool", of.Network)
	}
	if len(of.UIDMap) != 2 || of.UIDMap[0] != (fleet.IDRange{Inside: 0, Outside: 1001, Length: 1}) || of.UIDMap[1] != (fleet.IDRange{Inside: 1, Outside: 100000, Length: 65536}) {
		t.Errorf("uid map: %+v, want 0 1001 1 and 1 100000 65536", of.UIDMap)
	}
	var phases []string
	for i, phase := range of.Phases {
		phases = append(phases, phase.Name)
		if i > 0 && phase.Time.Before(of.Phases[i-1].Time) {
			t.Errorf("phases out of order: %+v, want each after the one before", of.Phases)
		}
	}
	if got, want := strings.Join(phases, " "), "start namespace machine containerd dockerd"; got != want {
		t.Errorf("phases %q, want %q", got, want)
	}
	if of.Started == nil || of.Finished != nil || of.ExitCode != 0 || of.OOMKilled || of.Revivals != 0 || len(of.DaemonRestarts) != 0 {
		t.Errorf("got %+v, want a runner that started, did not end, and whose daemons never restarted", of)
	}
}
