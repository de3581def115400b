//go:build linux

package doctor

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/facts"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// doctorReport runs doctor and parses its JSON report.
func doctorReport(t *testing.T, args ...string) (code int, checks map[string]doctor.Result) {
	t.Helper()
	code, stdout, stderr := e2e.Runnerctl(t.Context(), append([]string{"doctor", "-o", "json"}, args...)...)
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	checks = map[string]doctor.Result{}
	for _, result := range report.Checks {
		checks[result.ID] = result
	}
	return code, checks
}

// healthy fails unless the report has no fault and skips only the named checks.
func healthy(t *testing.T, code int, checks map[string]doctor.Result, skips ...string) {
	t.Helper()
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	for id, result := range checks {
		if result.Status == doctor.Warn && slices.Contains(mayWarn, id) {
			continue
		}
		if result.Status != doctor.Pass && (result.Status != doctor.Skip || !slices.Contains(skips, id)) {
			t.Errorf("%s: %s: %s, want %s", id, result.Status, result.Observed, doctor.Pass)
		}
	}
}

// mayWarn are checks for resources of which a machine may have less than GitHub's machines.
var mayWarn = []string{"kernel.inotify", "kernel.maps", "engine.limits", "rootfs.buildx"}

// mayLack are checks that are skipped if this machine's network or the settings give no
// answer.
var mayLack = []string{"network.metadata", "network.registry", "github.reachable", "github.clock", "github.token", "github.agent"}

// noProbe fails if probe containers of a fleet are left.
func noProbe(t *testing.T, api *client.Client, fleetName string) {
	t.Helper()
	left, err := api.ContainerList(context.Background(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "dev.runnerctl.role=probe"), filters.Arg("label", "dev.runnerctl.fleet="+fleetName))})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range left {
		t.Errorf("%v is left", one.Names)
	}
}

// doctor finds no failure and gives no false warning on a healthy machine, with and without a
// way out, and answers at once.
func TestDoctorOfThisMachine(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	started := time.Now()
	code, checks := doctorReport(t, "--fleet", name)
	if took := time.Since(started); took > 6*time.Second { // 2 s are promised
		t.Errorf("took %s, want at most 6s", took)
	}
	healthy(t, code, checks, mayLack...)
	code, checks = doctorReport(t, "--fleet", name, "--offline")
	healthy(t, code, checks, append(mayLack, "network.egress", "network.dns", "cache.reaches", "cache.clock")...)
	if offline := checks["network.metadata"]; offline.Observed != "offline" {
		t.Errorf("got %+v, want offline", offline)
	}
	noProbe(t, api, name)
}

// elsewhere makes the local engine look like the engine of another machine: it is reached by
// TCP.
func elsewhere(t *testing.T, socket string) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "tcp://"+e2e.Relay(t, socket, func(near, far net.Conn) {
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.(*net.UnixConn).CloseWrite() //nolint:errorlint // Dial's type for "unix"
		}()
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}))
}

// A probe container reads the files of another machine's engine and is removed. It reads the
// actual values.
func TestDoctorOfAnotherMachine(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	elsewhere(t, "/var/run/docker.sock")
	code, checks := doctorReport(t, "--fleet", name)
	healthy(t, code, checks, append(mayLack, "network.forwarding")...)
	for _, id := range []string{"userns.max", "devices.tun", "kernel.nat", "storage.space", "network.mtu", "engine.capabilities"} {
		if checks[id].Status != doctor.Pass {
			t.Errorf("%s: %s %q, want %s", id, checks[id].Status, checks[id].Observed, doctor.Pass)
		}
	}
	noProbe(t, api, name)
}

// The probe shows the machine as it is.
func TestProbe(t *testing.T) {
	api := e2e.Engine(t)
	e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	canary, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = canary.Close() }()
	gateway := e2e.BridgeAddress(t)
	port := canary.Addr().(*net.TCPAddr).Port //nolint:errorlint // Listen's type for "tcp"
	open, closed := net.JoinHostPort(gateway, strconv.Itoa(port)), net.JoinHostPort(gateway, "1")

	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	image, err := engine.AnyImage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reported, err := engine.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	options := dockerx.ProbeOptions{Fleet: name, Images: []string{"nosuch/image:here", image}, Connect: []string{open, closed}}
	for _, path := range doctor.Paths {
		options.Files = append(options.Files, strings.ReplaceAll(path, "KERNEL", reported.Kernel))
	}
	seen, err := engine.Probe(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if !seen.Connected[open] || seen.Connected[closed] {
		t.Errorf("connected %v, want %s and not %s", seen.Connected, open, closed)
	}
	if seen.Free < 1<<30 || !strings.Contains(seen.Mounts, " / / ") {
		t.Errorf("%d bytes free, mounts %s, want 1 GiB at least, and the root", seen.Free, seen.Mounts)
	}
	for _, path := range []string{"proc/sys/user/max_user_namespaces", "proc/1/uid_map", "proc/filesystems", "proc/1/net/route"} {
		want, err := os.ReadFile("/" + path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fs.ReadFile(seen.Files, path); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v: %q, want %q", path, err, got, want)
		}
	}
	want, err := os.Stat("/dev/net/tun")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.Stat(seen.Files, "dev/net/tun"); err != nil || got.Mode().Perm() != want.Mode().Perm() {
		t.Errorf("tun: %v %v, want the mode %v", got, err, want.Mode().Perm())
	}
	noProbe(t, api, name)
}

// For an engine in its own namespaces, doctor looks at the engine's devices, not at the
// caller's. Without an image no probe can run, and doctor says so.
func TestDoctorOfAPrivateEngine(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 512, TunMode: 0o600})
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", engine.Host)
	code, checks := doctorReport(t)
	if tun := checks["devices.tun"]; code != commands.ExitFailure || tun.Status != doctor.Fail || !strings.Contains(tun.Observed, "0600") {
		t.Errorf("exit code %d, want %d; %+v, want %s with 0600", code, commands.ExitFailure, tun, doctor.Fail)
	}
	if space := checks["storage.space"]; space.Status != doctor.Warn || !strings.HasPrefix(space.Observed, "0 GiB") {
		t.Errorf("got %+v, want %s with 0 GiB", space, doctor.Warn)
	}
	if probe := checks["engine.containers"]; probe.Status != doctor.Skip || !strings.Contains(probe.Observed, "no image for the probe yet") { // the test binary needs shared libraries
		t.Errorf("got %+v, want %s with %q", probe, doctor.Skip, "no image for the probe yet")
	}
	program := e2e.Program(t)
	probedByProgram(t, engine, program, 0)
	// An image without a shell is of no use either, and an image that a killed doctor left is
	// removed.
	loadImage(t, engine.API, "doctor-test/noshell:latest", time.Now(), nil)
	loadImage(t, engine.API, "runnerctl/probe:stale", time.Now().Add(-time.Hour), map[string]string{"dev.runnerctl.role": "probe", "dev.runnerctl.schema": "1"})
	if out := e2e.Must(t, "prune", "--dry-run"); !strings.Contains(out, "runnerctl/probe:stale") {
		t.Errorf("prune would remove:\n%s\nwant runnerctl/probe:stale", out)
	}
	probedByProgram(t, engine, program, 1)
	if code, checks := doctorReport(t, "devices.tun", "--ignore", "devices.tun"); code != 0 || len(checks) != 1 || checks["devices.tun"].Status != doctor.Warn {
		t.Errorf("exit code %d, want 0; %+v, want devices.tun alone, %s", code, checks, doctor.Warn)
	}
	code, script, _ := e2e.Runnerctl(t.Context(), "doctor", "--fix-script", "devices")
	if code != 0 || !strings.Contains(script, "\ntry open_tun\n[") {
		t.Errorf("exit code %d, want 0; script:\n%s\nwant %q", code, script, "\ntry open_tun\n[")
	}
}

// probedByProgram checks that runnerctl itself is the probe on a remote engine without a
// usable image, and that it leaves no image next to the given number of others.
func probedByProgram(t *testing.T, engine *enginetest.Engine, program string, others int) {
	t.Helper()
	elsewhere(t, strings.TrimPrefix(engine.Host, "unix://"))
	out, err := exec.Command(program, "doctor", "-o", "json").Output()
	var report doctor.Report
	if json.Unmarshal(out, &report) != nil {
		t.Fatalf("%v: got %s, want a report as JSON", err, out)
	}
	for _, result := range report.Checks {
		want := map[string]doctor.Status{"devices.tun": doctor.Fail, "kernel.nat": doctor.Pass, "engine.containers": doctor.Pass, "userns.max": doctor.Pass}[result.ID]
		if want != "" && result.Status != want {
			t.Errorf("%s: %s %s, want %s", result.ID, result.Status, result.Observed, want)
		}
	}
	noProbe(t, engine.API, "ci")
	images, err := engine.API.ImageList(t.Context(), image.ListOptions{All: true})
	if err != nil || len(images) != others {
		t.Errorf("images left: %v %+v, want %d", err, images, others)
	}
	t.Setenv("DOCKER_HOST", engine.Host)
}

// loadImage loads an image of one file that cannot run.
func loadImage(t *testing.T, api *client.Client, name string, created time.Time, labels map[string]string) {
	t.Helper()
	pack := func(files ...any) []byte { // name and content in turn
		var packed bytes.Buffer
		out := tar.NewWriter(&packed)
		for i := 0; i < len(files); i += 2 {
			content, ok := files[i+1].([]byte)
			if !ok {
				var err error
				if content, err = json.Marshal(files[i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if err := out.WriteHeader(&tar.Header{Name: files[i].(string), Mode: 0o644, Size: int64(len(content))}); err != nil { //nolint:errorlint // names are strings
				t.Fatal(err)
			}
			if _, err := out.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		return packed.Bytes()
	}
	type object = map[string]any
	layer := pack("name", []byte(name))
	config := object{"architecture": runtime.GOARCH, "os": "linux", "created": created, "config": object{"Labels": labels}, "rootfs": object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}}}
	saved := pack("layer.tar", layer, "config.json", config, "manifest.json", []object{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	response, err := api.ImageLoad(t.Context(), bytes.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || !strings.Contains(string(text), name) {
		t.Fatalf("load %s: %v: %s, want its name", name, err, text)
	}
}

// doctor reports in time that an engine accepts connections and never answers.
func TestDoctorOfAMuteEngine(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", e2e.MuteEngine(t))
	started := time.Now()
	code, checks := doctorReport(t)
	if engine := checks["engine.reachable"]; code != commands.ExitFailure || engine.Status != doctor.Fail || !strings.Contains(engine.Observed, "did not answer within "+facts.EngineLimit.String()) {
		t.Errorf("exit code %d, want %d; %+v, want %s with %q", code, commands.ExitFailure, engine, doctor.Fail, "did not answer within "+facts.EngineLimit.String())
	}
	if took := time.Since(started); took > 2*facts.EngineLimit {
		t.Errorf("took %s, want at most %s", took, 2*facts.EngineLimit)
	}
}

// Our image passes, and doctor explains the fault of an image made by a well-known recipe.
func TestDoctorImage(t *testing.T) {
	api := e2e.Engine(t)
	tag := e2e.RunnerImage(t)
	name := e2e.NewFleet(t, api)
	code, checks := doctorReport(t, "--fleet", name, "--image", tag)
	healthy(t, code, checks)
	recipe := "doctor-test/recipe:latest"
	err := e2e.BuildImage(t, api, recipe, "FROM "+tag+"\nUSER 0\nRUN echo runner:100000:65536 >>/etc/subuid && chmod u+s /usr/bin/newuidmap\nUSER 1001\n")
	if err != nil {
		t.Fatal(err)
	}
	code, checks = doctorReport(t, "--fleet", name, "--image", recipe)
	if subids := checks["image.subids"]; code != commands.ExitFailure || !strings.Contains(subids.Observed, "[0 1001 1 1 100000 65536 65537 100000 65536]") {
		t.Errorf("exit code %d, want %d; %+v, want %q", code, commands.ExitFailure, subids, "[0 1001 1 1 100000 65536 65537 100000 65536]")
	}
	if mapper := checks["image.newuidmap"]; mapper.Status != doctor.Fail || !strings.Contains(mapper.Observed, "setuid root") {
		t.Errorf("got %+v, want %s with %q", mapper, doctor.Fail, "setuid root")
	}
	noProbe(t, api, name)
	if code, _, stderr := e2e.Runnerctl(t.Context(), "doctor", "--image", "nosuch/image:here"); code != commands.ExitFailure || !strings.Contains(stderr, "docker pull nosuch/image:here") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "docker pull nosuch/image:here")
	}
}

// doctor checks GitHub with a token that may register runners, with a token that may not, and
// with an unreachable GitHub.
func TestDoctorAsksGitHub(t *testing.T) {
	e2e.Engine(t)
	t.Chdir(t.TempDir())
	t.Setenv("PATH", t.TempDir()) // no gh
	for _, name := range []string{"GITHUB_TOKEN", "GH_TOKEN"} {
		t.Setenv(name, "")
	}
	github := e2e.NewGitHub(t, ghsim.Options{}, "acme/api")
	status := func(id string, want doctor.Status, words string) {
		t.Helper()
		_, checks := doctorReport(t, "github")
		if got := checks[id]; got.Status != want || !strings.Contains(got.Observed+got.Remedy.Text, words) {
			t.Errorf("%s: %+v, want %s %q", id, got, want, words)
		}
	}
	status("github.reachable", doctor.Pass, "answers")
	status("github.clock", doctor.Pass, "agrees")
	status("github.token", doctor.Pass, "may register")
	github.SetClockOffset(10*time.Minute + 30*time.Second) // the Date header has whole seconds
	status("github.clock", doctor.Warn, "differ by ")
	t.Setenv("RUNNERCTL_TOKEN", github.ClassicToken(time.Hour, "gist"))
	status("github.token", doctor.Fail, "needs the scope repo")
	t.Setenv("RUNNERCTL_TOKEN", "")
	status("github.token", doctor.Fail, "set RUNNERCTL_TOKEN")
	status("github.reachable", doctor.Pass, "answers") // without a token too
	status("github.clock", doctor.Warn, "differ by 10m")
	if code, checks := doctorReport(t, "github", "--offline"); code != 0 || checks["github.token"].Observed != "offline" {
		t.Errorf("exit code %d, want 0; %+v, want offline", code, checks["github.token"])
	}
	t.Setenv("RUNNERCTL_TOKEN", github.ClassicToken(time.Hour, "repo"))
	calm := github.Inject(ghsim.SecondaryLimit("GET /repos/acme/api/actions/runners", 0, time.Hour))
	status("github.token", doctor.Warn, "secondary rate limit")
	status("github.reachable", doctor.Pass, "answers")
	calm()
	status("github.token", doctor.Pass, "may register")
	github.Close()
	status("github.reachable", doctor.Fail, "refused")
}

// doctor shows how GitHub judges the agent of the newest image.
func TestDoctorAsksForTheAgent(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Options{DiskMiB: 512})
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", engine.Host)
	github := e2e.NewGitHub(t, ghsim.Options{}, "acme/api")
	made := time.Now().Add(-time.Hour)
	see := func(version string, want doctor.Status, words string) {
		t.Helper()
		if version != "" {
			made = made.Add(time.Minute)
			loadImage(t, engine.API, "runnerctl/runner:"+version, made, map[string]string{"dev.runnerctl.agent": version, "dev.runnerctl.image": version})
		}
		code, checks := doctorReport(t, "github")
		if got := checks["github.agent"]; got.Status != want || !strings.Contains(got.Observed, words) || code != map[bool]int{true: commands.ExitFailure}[want == doctor.Fail] {
			t.Errorf("code %d, %+v, want %s %q", code, got, want, words)
		}
	}
	see("", doctor.Skip, "no image")
	see("2.320.0", doctor.Fail, "2.320.0 gets no jobs since")
	see("2.329.0", doctor.Pass, "2.329.0, good until")
	see(ghsim.AgentVersion, doctor.Pass, "newest "+ghsim.AgentVersion)
	github.Inject(ghsim.Fault{Match: "GET /repos/acme/api/actions/runners/deprecations/*", Status: 403, Body: `{"message":"Resource not accessible"}`})
	see("", doctor.Skip, "Resource not accessible")
	if _, checks := doctorReport(t, "github"); checks["github.token"].Status != doctor.Pass || checks["github.clock"].Status != doctor.Pass {
		t.Errorf("got %+v, want github.token and github.clock %s", checks, doctor.Pass)
	}
}
