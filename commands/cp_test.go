//go:build linux

package commands

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

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// cp copies in both directions like docker cp. A job, even as root, cannot misuse it.
func TestCp(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, up(name)...)
	runner := list(t, name)[0].Name
	inside := func(script string) string {
		t.Helper()
		return must(t, "exec", runner, "--", "sh", "-c", script)
	}
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	fails := func(problem string, args ...string) {
		t.Helper()
		if code, stdout, stderr := runnerctl(t.Context(), append([]string{"cp"}, args...)...); code != exitFailure || stdout != "" || !strings.Contains(stderr, problem) {
			t.Errorf("cp %v: code %d: %s", args, code, stderr)
		}
	}

	// Into the runner.
	write("src/plain", "text", 0o640)
	write("src/sub/setuid", "#!", 0o755|os.ModeSetuid)
	must(t, "cp", "src", runner+":")
	if got, want := inside("find src -printf '%u:%g %m %p\n' | sort -k3"), "runner:runner 755 src\nrunner:runner 640 src/plain\nrunner:runner 755 src/sub\nrunner:runner 755 src/sub/setuid\n"; got != want {
		t.Errorf("got\n%s", got)
	}
	must(t, "cp", "src", runner+":src") // into an existing folder
	must(t, "cp", "src/.", runner+":new")
	must(t, "cp", "src/plain", runner+":new/sub/")
	must(t, "cp", "src/plain", runner+":as named")
	inside("echo old >target; ln -s target link")
	must(t, "cp", "src/plain", runner+":link")
	must(t, "cp", "src/plain", runner+":/dev/shm") // a filesystem of the machine's own
	if got := inside("ls -d src/src/plain new/plain new/sub/plain 'as named' /dev/shm/plain; readlink link; cat target"); got != "/dev/shm/plain\nas named\nnew/plain\nnew/sub/plain\nsrc/src/plain\ntarget\ntext" {
		t.Errorf("got\n%s", got)
	}
	fails("Permission denied", "src/plain", runner+":/etc/plain")
	fails("no such folder", "src/plain", runner+":nosuch/")
	fails("nosuch", "src/plain", runner+":nosuch/plain")
	fails("nosuch", "nosuch", runner+":x")
	fails("a folder can't become a file", "src", runner+":as named")
	fails("no runner named nosuch", "src", "nosuch:x")
	must(t, "cp", "--root", "src/plain", runner+":/etc/plain")
	if got := inside("stat -c '%U %a' /etc/plain"); got != "root 640\n" {
		t.Errorf("as root: %s", got)
	}

	// Out of the runner.
	inside(`mkdir -p job/sub; echo result >job/sub/result; chmod 6755 job/sub/result; ln -s sub/result job/good; ln -s /etc/passwd job/bad; mkfifo job/fifo`)
	if err := os.Mkdir("there", 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, "cp", runner+":job", "there")
	must(t, "cp", runner+":job/", "job2/")
	must(t, "cp", runner+":job/.", "there")
	for _, path := range []string{"there/job/sub/result", "job2/good", "there/sub/result"} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o755 || read(path) != "result\n" {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	for _, path := range []string{"there/job/bad", "there/job/fifo"} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	must(t, "cp", runner+":job/good", "good", "-L")
	if got := read("good"); got != "result\n" {
		t.Error(got)
	}
	fails("leads out", runner+":job/bad", "bad")
	fails("nosuch: Cannot stat", runner+":nosuch", "x")
	fails("Permission denied", runner+":/etc/shadow", "x")
	fails("no such folder", runner+":job/good", "nosuch/", "-L")
	fails("no such file", runner+":job", "nosuch/x")
	must(t, "cp", "--root", runner+":/etc/shadow", "shadow")
	if got := read("shadow"); !strings.Contains(got, "runner:") {
		t.Errorf("shadow: %s", got)
	}

	// Streams to standard output.
	stream := must(t, "cp", runner+":job", "-")
	names := ""
	for reader := tar.NewReader(strings.NewReader(stream)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || header.Mode&^0o777 != 0 {
			t.Fatalf("%+v: %v", header, err)
		}
		names += header.Name + " "
	}
	if !strings.Contains(names, "job/sub/result") {
		t.Error(names)
	}
	var errs bytes.Buffer
	streams := ui.Streams{In: strings.NewReader(stream), Out: io.Discard, Err: &errs}
	if code := run(t.Context(), session.Session{Streams: streams, Env: os.Getenv, GOOS: "linux"}, []string{"runnerctl", "cp", "-", runner + ":new"}); code != 0 {
		t.Error(errs.String())
	}
	if got := inside("cat new/job/sub/result; stat -c '%U %a' new/job/sub/result"); got != "result\nrunner 755\n" {
		t.Error(got)
	}

	// A job's links are resolved in the job's own machine.
	inside(`ln -s / top; ln -s /usr/lib/runnerctl lib; echo "job's own" | sudo tee /usr/lib/runnerctl/start >/dev/null; sudo chown runner /usr/lib/runnerctl`)
	must(t, "cp", runner+":lib/start", "start")
	must(t, "cp", runner+":top/usr/lib/runnerctl/start", "start2")
	if read("start") != "job's own\n" || read("start2") != "job's own\n" {
		t.Errorf("the outer tree was read: %s", read("start"))
	}
	must(t, "cp", "src/plain", runner+":lib/exec")
	must(t, "cp", "src/plain", runner+":top/dev/shm/outer")
	for _, path := range []string{"/usr/lib/runnerctl/exec", "/dev/shm/outer"} {
		outer, _, err := api.CopyFromContainer(t.Context(), runner, path)
		if err != nil {
			continue // as expected for the second
		}
		text, err := io.ReadAll(outer)
		_ = outer.Close()
		if err != nil || path == "/dev/shm/outer" || !bytes.Contains(text, []byte("RUNNERCTL_EXEC")) {
			t.Errorf("%s of the outer tree was written", path)
		}
	}
	if got := inside("cat /usr/lib/runnerctl/exec"); got != "text" {
		t.Errorf("got %q", got)
	}

	// A tar of the job's own that sends whatever it likes.
	write("elsewhere/secret", "kept", 0o600)
	hostile := func(script string) {
		inside("printf '%s\\n' '#!/bin/sh' " + "'" + script + "' | sudo tee /usr/local/bin/tar >/dev/null; sudo chmod 755 /usr/local/bin/tar")
	}
	hostile(`cd /tmp && mkdir -p h/job && ln -sfn ../elsewhere h/job/l && mkdir -p h2/job/l && echo evil >h2/job/l/secret && /usr/bin/tar -c -C h job -C ../h2 job/l/secret`)
	must(t, "cp", runner+":job", "hostile")
	hostile(`cd /tmp && mkdir -p h3/elsewhere && echo evil >h3/elsewhere/secret && /usr/bin/tar -c -C h job -C ../h3 elsewhere`)
	fails("outside of what was asked for", runner+":job", "hostile2")
	hostile(`cd /tmp && /usr/bin/tar -c -P --transform s,^h3,job/../..,  h h3`)
	fails("in the archive", runner+":job", "hostile3")
	hostile(`yes`)
	fails("archive/tar", runner+":job", "hostile4")
	hostile(`/usr/bin/tar -c /etc/hosts; yes`)
	fails("goes on after", runner+":job", "hostile5")
	must(t, "exec", runner, "--", "sh", "-c", "mkdir closed && echo x >closed/üñí && chmod 0 closed/üñí")
	hostile(`exec /usr/bin/tar "$@"`)
	fails("üñí: Cannot open: Permission denied", runner+":closed", "closed")
	fails("/dev/null is neither file, folder nor link", "/dev/null", runner+":null")
	hostile(`printf "\\033]0;title\\007tar: bad\\n" >&2; exit 2`)
	fails("bad", runner+":job", "hostile6")
	if got := read("elsewhere/secret"); got != "kept" {
		t.Errorf("the job wrote %q outside", got)
	}
	if got := read("hostile/l/secret"); got != "evil\n" {
		t.Errorf("got %q", got)
	}

	if err := api.ContainerStop(t.Context(), runner, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	fails("is exited", "src", runner+":x")
}

// cp reads standard input as a tar archive, also if it is packed with gzip, is no archive, or
// never comes.
func TestCpOfStandardInput(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, up(name)...)
	runner := list(t, name)[0].Name
	cp := func(ctx context.Context, in io.Reader) (code int, stderr string) {
		var errs bytes.Buffer
		s := session.Session{Streams: ui.Streams{In: in, Out: io.Discard, Err: &errs}, Env: os.Getenv, GOOS: "linux"}
		code = run(ctx, s, []string{"runnerctl", "cp", "-", runner + ":"})
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
		t.Errorf("code %d: %s", code, stderr)
	}
	if got := must(t, "exec", runner, "--", "cat", "packed"); got != "text" {
		t.Errorf("got %q", got)
	}
	if code, stderr := cp(t.Context(), strings.NewReader("garbage\n")); code != exitFailure || !strings.Contains(stderr, "standard input: that is no tar archive") {
		t.Errorf("code %d: %s", code, stderr)
	}

	quiet, never := io.Pipe()
	defer func() { _ = never.Close() }()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(time.Second, func() { cancel(errInterrupted) })
	begun := time.Now()
	if code, stderr := cp(ctx, quiet); code != exitInterrupted || time.Since(begun) > 10*time.Second {
		t.Errorf("code %d after %s: %s", code, time.Since(begun), stderr)
	}
}

func TestInspect(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, up(name)...)
	runner := list(t, name)[0]
	inspect := func() (of fleet.Details) {
		t.Helper()
		if err := json.Unmarshal([]byte(must(t, "inspect", runner.Name, "-o", "json")), &of); err != nil {
			t.Fatal(err)
		}
		return of
	}
	engine, err := api.ContainerInspect(t.Context(), runner.Name)
	if err != nil {
		t.Fatal(err)
	}
	version, err := api.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := inspect()
	if of.Name != runner.Name || of.Fleet != name || of.Role != fleet.Member || !of.Ready || of.Busy || of.Pinned != engine.Image || of.Volume != runner.Name+"-data" || len(of.Spec) != 12 {
		t.Errorf("%+v", of.Runner)
	}
	if of.Engine.Outer != version.Version || of.Engine.Inner != runner.DockerVersion || of.Engine.StorageDriver != "overlay2" || of.Engine.CgroupDriver != "none" {
		t.Errorf("%+v", of.Engine)
	}
	if want := (fleet.Limits{CPUs: float64(engine.HostConfig.NanoCPUs) / 1e9, Memory: 4 << 30, Pids: 32768, Shm: 1 << 30}); of.Limits != want || want.CPUs == 0 {
		t.Errorf("%+v", of.Limits)
	}
	if of.Network.Driver != "slirp4netns" || of.Network.MTU != 21885 || of.Network.MTUs["tap0"] != 21885 || of.Network.MTUs["docker0"] != 21885 || of.Network.Bip == "" || of.Network.Pool == "" {
		t.Errorf("%+v", of.Network)
	}
	if len(of.UIDMap) != 2 || of.UIDMap[0] != (fleet.IDRange{Inside: 0, Outside: 1001, Length: 1}) || of.UIDMap[1] != (fleet.IDRange{Inside: 1, Outside: 100000, Length: 65536}) {
		t.Errorf("%+v", of.UIDMap)
	}
	var phases []string
	for i, phase := range of.Phases {
		phases = append(phases, phase.Name)
		if i > 0 && phase.Time.Before(of.Phases[i-1].Time) {
			t.Errorf("%+v", of.Phases)
		}
	}
	if strings.Join(phases, " ") != "start namespace machine containerd dockerd" {
		t.Errorf("phases %v", phases)
	}
	if of.Started == nil || of.Finished != nil || of.ExitCode != 0 || of.OOMKilled || of.Revivals != 0 || len(of.DaemonRestarts) != 0 {
		t.Errorf("%+v", of)
	}

	table := must(t, "inspect", runner.Name)
	for _, want := range []string{runner.Name + "\n", "  inner        " + runner.DockerVersion, "  docker0      " + of.Network.Bip, "1–65536 here are 100000–165535 on the host", "  dockerd      "} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if strings.Contains(table, "\x1b") {
		t.Errorf("colours: %q", table)
	}

	must(t, "exec", "--root", runner.Name, "--", "pkill", "-KILL", "-x", "dockerd")
	eventually(t, time.Minute, "the restart is told", func() bool {
		of := inspect()
		return of.Ready && len(of.DaemonRestarts) == 1 && of.DaemonRestarts[0].Name == "dockerd"
	})
	if err := api.ContainerKill(t.Context(), runner.Name, "KILL"); err != nil {
		t.Fatal(err)
	}
	// A runner killed from outside stays down, and inspect still shows what the engine knows.
	eventually(t, time.Minute, "the end is told", func() bool { return inspect().State == "exited" })
	if of := inspect(); of.ExitCode != 137 || of.Finished == nil || of.Ready || of.Limits.Memory != 4<<30 || of.Phases == nil {
		t.Errorf("%+v", of)
	}
	if code, stdout, stderr := runnerctl(t.Context(), "inspect", "nosuch"); code != exitFailure || stdout != "" || !strings.Contains(stderr, "runnerctl ps --all") {
		t.Errorf("code %d: %s", code, stderr)
	}
}
