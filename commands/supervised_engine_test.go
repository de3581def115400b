//go:build linux

package commands

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// A spare waits longer than the time an agent has for its credential, and runs its job once
// the credential comes. After it has ended, its job can be read.
func TestSpare(t *testing.T) {
	f := newAgentFleet(t, nil)
	f.spec.Agent = jitAgent
	changes, err := f.engine.Changes(t.Context(), f.spec.Fleet)
	if err != nil {
		t.Fatal(err)
	}
	spare, err := f.engine.CreateSpare(t.Context(), fleet.NewName(f.spec.Fleet, map[string]bool{}), f.spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.engine.Remove(context.Background(), spare); err != nil {
			t.Error(err)
		}
	})
	f.ready(spare)
	find := func() fleet.Runner {
		t.Helper()
		known, err := f.engine.Known(t.Context(), f.spec.Fleet)
		if err != nil || len(known) != 1 {
			t.Fatalf("%+v, %v", known, err)
		}
		return f.engine.Look(t.Context(), known[0])
	}
	eventually(t, time.Minute, "the spare waits", func() bool { return find().Waiting })
	if known := find(); !known.Spare || !known.Ready || known.Busy || known.SpecHash != f.spec.Hash() {
		t.Errorf("%+v", known)
	}
	if thorough {
		time.Sleep(31 * time.Second) // an agent that is no spare waits 30 s
		if !find().Waiting {
			t.Fatal("it waits no more")
		}
	}

	credential := jitConfig(t, `echo "2026-01-01 00:00:00Z: Running job: build (x64)"
		export GITHUB_SERVER_URL=https://github.com GITHUB_REPOSITORY=acme/api GITHUB_RUN_ID=4711 GITHUB_JOB=build
		mkdir -p $root/_diag && echo a worker spoke >$root/_diag/Worker_20260101-000000-utc.log && ln -s /etc/passwd $root/_diag/Runner_1.log
		$ACTIONS_RUNNER_HOOK_JOB_STARTED && docker version --format 'first step: {{.Server.Version}}'
		echo "2026-01-01 00:00:09Z: Job build (x64) completed with result: Failed"; exit 3`)
	if err := f.engine.Give(t.Context(), spare, credential, f.spec); err != nil {
		t.Fatal(err)
	}
	code, log := f.ended(spare)
	if code != 3 || !strings.Contains(log, "agent: first step: 2") {
		t.Errorf("code %d:\n%s", code, log)
	}
	record, err := f.engine.Autopsy(t.Context(), find())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(record.Name == spare.Name, record.ExitCode, record.Verdict, record.OOMKilled, record.Job, record.JobURL, record.Conclusion, record.Finished.After(record.Started))
	if want := "true 3 ended to update itself false build (x64) https://github.com/acme/api/actions/runs/4711/attempts/1 failure true\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got, want := string(record.Diagnostics), "==> Worker_20260101-000000-utc.log <==\na worker spoke\n"; got != want {
		t.Errorf("diagnostics %q", got)
	}
	lines := record.LogLines()
	if len(lines) == 0 || lines[len(lines)-1].Text != "ended with code 3" || lines[len(lines)-1].Source != "agent" {
		t.Errorf("%s", record.Log)
	}
	for _, want := range []fleet.ChangeKind{fleet.Begun, fleet.Died} {
		if change := <-changes; change.Runner != spare.Name || change.Kind != want {
			t.Errorf("change %+v, want %s", change, want)
		}
	}
}

// A supervisor's state is also kept while no supervisor runs, within its bounds.
func TestState(t *testing.T) {
	f := newAgentFleet(t, nil)
	name := f.spec.Fleet
	state := f.engine.State(name)
	t.Cleanup(func() {
		if err := f.engine.StopSupervisor(context.Background(), name); err != nil {
			t.Error(err)
		}
		if err := f.engine.RemoveState(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	empty := func() {
		t.Helper()
		wish, err := state.Wish(t.Context())
		events, eventsErr := state.Events(t.Context())
		record, recordErr := state.Record(t.Context(), name+"-aaaa")
		if wish != nil || len(events) > 0 || record != nil || err != nil || eventsErr != nil || recordErr != nil {
			t.Errorf("%v %v %v %v %v %v", wish, events, record, err, eventsErr, recordErr)
		}
	}
	empty()
	if left := leftovers(t, f.api, name); len(left) > 0 {
		t.Errorf("reading made %v", left)
	}

	wish := fleet.Wish{Schema: fleet.WishSchema, Count: 3, Spares: 1, Spec: f.spec, Ready: time.Minute}
	if err := state.SaveWish(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	read, err := f.engine.State(name).Wish(t.Context())
	if err != nil || read == nil || read.Count != 3 || read.Spec.Hash() != f.spec.Hash() {
		t.Errorf("%+v, %v", read, err)
	}
	newer := wish
	newer.Schema++
	if err := state.SaveWish(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Wish(t.Context()); err == nil || !strings.Contains(err.Error(), "newer runnerctl") {
		t.Errorf("a newer wish: %v", err)
	}

	// The foreground's hold carries the volume for all readers, and down ends it.
	lost, release, err := f.engine.HoldSupervisor(t.Context(), name, f.spec.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, _, err := f.engine.HoldSupervisor(t.Context(), name, f.spec.Image); err == nil || !strings.Contains(err.Error(), "has a supervisor in the foreground") {
		t.Errorf("a second one: %v", err)
	}
	reloads, err := f.engine.Reloads(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.engine.Reload(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	<-reloads

	line := strings.Repeat("x", 10<<10)
	for part := range 13 { // 1.3 MiB
		var events []fleet.Event
		for i := range 10 {
			events = append(events, fleet.Event{Fleet: name, Kind: fleet.FailedEvent, Text: fmt.Sprint(part*10+i, " ", line)})
		}
		if part == 7 { // by a new State
			state = f.engine.State(name)
		}
		if err := state.AppendEvents(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	events, err := state.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, event := range events {
		if want := fmt.Sprint(130-len(events)+i, " "); !strings.HasPrefix(event.Text, want) {
			t.Fatalf("event %d is not %s", i, want)
		}
	}
	if len(events) < 80 || len(events) > 103 {
		t.Errorf("%d events of 10 KiB are kept", len(events))
	}

	now := time.Now().UTC().Truncate(time.Second)
	record := func(i int, finished time.Time) fleet.Record {
		return fleet.Record{Name: fmt.Sprintf("%s-%04d", name, i), Fleet: name, Finished: finished, Log: []byte("its log\n"), Diagnostics: []byte("its own\n")}
	}
	for i, finished := range []time.Time{now.Add(-fleet.RecordsFor - time.Hour), now.Add(-time.Hour), now} {
		if err := state.SaveRecord(t.Context(), record(i, finished)); err != nil {
			t.Fatal(err)
		}
	}
	state = f.engine.State(name)
	records, err := state.Records(t.Context())
	if err != nil || len(records) != 2 || records[1].Name != name+"-0002" || records[1].Log != nil {
		t.Errorf("%+v, %v", records, err)
	}
	one, err := state.Record(t.Context(), name+"-0001")
	if err != nil || one == nil || string(one.Log) != "its log\n" || string(one.Diagnostics) != "its own\n" {
		t.Errorf("%+v, %v", one, err)
	}

	if err := f.engine.StopSupervisor(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Error("the holder does not see that it was taken away")
	}
	if records, err := f.engine.State(name).Records(t.Context()); err != nil || len(records) != 2 {
		t.Errorf("without a supervisor: %+v, %v", records, err)
	}
	// A process was killed while reading.
	labels := map[string]string{"dev.runnerctl.fleet": name, "dev.runnerctl.role": "probe", "dev.runnerctl.schema": "1"}
	if _, err := f.api.ContainerCreate(t.Context(), &container.Config{Image: f.spec.Image, Labels: labels}, &container.HostConfig{Binds: []string{"runnerctl-state-" + name + ":/state"}}, nil, nil, ""); err != nil {
		t.Fatal(err)
	}
	doctor, err := f.api.ContainerCreate(t.Context(), &container.Config{Image: f.spec.Image, Labels: labels}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.engine.RemoveState(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := f.api.ContainerRemove(t.Context(), doctor.ID, container.RemoveOptions{RemoveVolumes: true}); err != nil {
		t.Errorf("a doctor's probe at work is gone: %v", err)
	}
	empty()

	// down finds a killed runnerctl's leftovers of a supervisor, even if there is nothing
	// else.
	if err := f.engine.State(name).SaveWish(t.Context(), wish); err != nil {
		t.Fatal(err)
	}
	if plan := must(t, "down", "--fleet", name, "--dry-run"); plan != "remove  runnerctl-state-"+name+"  (down)\n" {
		t.Errorf("plan:\n%s", plan)
	}
	if code, _, stderr := runnerctl(t.Context(), "down", "--fleet", name); code != 0 || !strings.Contains(stderr, "runnerctl-state-"+name+"   removed\n") {
		t.Errorf("code %d: %s", code, stderr)
	}
	if left := leftovers(t, f.api, name); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// supervisorStandIn prints what a supervisor's program finds in its container.
const supervisorStandIn = `package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") || strings.HasPrefix(line, "Uid") {
			fmt.Print(line)
		}
	}
	for _, path := range []string{"/file", "/credential/file", "/var/run/file"} {
		fmt.Println("write", os.WriteFile(path, nil, 0o600))
	}
	roots, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	fmt.Println("roots", string(roots), err)
	socket, err := net.Dial("unix", "/var/run/docker.sock")
	if err == nil {
		fmt.Fprint(socket, "GET /_ping HTTP/1.0\r\n\r\n")
		answer := make([]byte, 12)
		socket.Read(answer)
		fmt.Printf("engine %s\n", answer)
	}
	credential, err := os.ReadFile("/credential/credential.json")
	fmt.Println("begun with", os.Args[1:], len(credential), err)
	<-signals
}
`

// The background form: what its container can and can't do, which processes can read the
// credential, and where it ends up.
func TestSupervisorContainer(t *testing.T) {
	f := newAgentFleet(t, nil)
	name := f.spec.Fleet
	folder := t.TempDir()
	source, binary := filepath.Join(folder, "main.go"), filepath.Join(folder, "supervisor")
	if err := os.WriteFile(source, []byte(supervisorStandIn), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	options := dockerx.SupervisorOptions{Fleet: name, Program: content, Roots: []byte("the roots"), Socket: dockerx.SupervisorSocket, Command: []string{"__supervise", name}}
	start := func(credential string) {
		t.Helper()
		if err := f.engine.StartSupervisor(t.Context(), options, secret.New(credential)); err != nil {
			t.Fatal(err)
		}
	}
	log := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := f.engine.SupervisorLog(t.Context(), name, dockerx.LogOptions{Tail: -1}, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	t.Cleanup(func() {
		if err := f.engine.StopSupervisor(context.Background(), name); err != nil {
			t.Error(err)
		}
		if err := f.engine.RemoveState(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	start("ghp_secret")
	first, err := f.engine.Supervisor(t.Context(), name)
	if err != nil || !first.Running || first.Foreground {
		t.Fatalf("%+v, %v", first, err)
	}
	t.Cleanup(func() { removeImage(t, f.api, first.Image) })
	begun := "begun with [__supervise " + name + "] 10 <nil>\n"
	eventually(t, 20*time.Second, "the supervisor begins", func() bool { return strings.Contains(log(), begun) })
	for _, want := range []string{
		"Uid:\t0\t0\t0\t0\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "roots the roots <nil>\n", "engine HTTP/1.0 200\n",
		"write open /file: read-only file system\n", "write open /credential/file: read-only file system\n", "write open /var/run/file: read-only file system\n",
	} {
		if !strings.Contains(log(), want) {
			t.Errorf("no %q in\n%s", want, log())
		}
	}
	if seen := f.everywhere(fleet.Runner{ContainerID: first.ContainerID}); strings.Contains(seen, "ghp_secret") || !strings.Contains(seen, "__supervise") {
		t.Errorf("the credential is where others can read it:\n%q", seen)
	}

	// The Wish is read and written through the supervisor's container; another up notifies
	// it.
	state := f.engine.State(name)
	if err := state.SaveWish(t.Context(), fleet.Wish{Schema: fleet.WishSchema, Count: 2}); err != nil {
		t.Fatal(err)
	}
	if wish, err := state.Wish(t.Context()); err != nil || wish == nil || wish.Count != 2 {
		t.Errorf("%+v, %v", wish, err)
	}
	reloads, err := f.engine.Reloads(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	start("another")
	<-reloads
	if again, err := f.engine.Supervisor(t.Context(), name); err != nil || again.ContainerID != first.ContainerID {
		t.Errorf("%+v, %v", again, err)
	}
	if _, _, err := f.engine.HoldSupervisor(t.Context(), name, f.spec.Image); err == nil || !strings.Contains(err.Error(), "has a supervisor: the container runnerctl-supervisor-"+name) {
		t.Errorf("in the foreground beside it: %v", err)
	}

	// After a kill it comes back; another program replaces it.
	killSupervisor(t, f.api, first.ContainerID)
	eventually(t, 20*time.Second, "it comes back", func() bool {
		again, err := f.engine.Supervisor(t.Context(), name)
		return err == nil && again.Running && again.Restarts == 1 && strings.Contains(log(), "begun with [__supervise "+name+"] 7 <nil>\n")
	})
	options.Roots = []byte("other roots")
	start("ghp_secret")
	second, err := f.engine.Supervisor(t.Context(), name)
	if err != nil || second.ContainerID == first.ContainerID || second.Image == first.Image {
		t.Errorf("%+v, %v", second, err)
	}
	t.Cleanup(func() { removeImage(t, f.api, second.Image) })
	if wish, err := state.Wish(t.Context()); err != nil || wish == nil || wish.Count != 2 {
		t.Errorf("%+v, %v", wish, err)
	}

	if err := f.engine.StopSupervisor(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, f.api, name); len(left) != 1 || left[0] != "runnerctl-state-"+name {
		t.Errorf("left: %v", left)
	}
	if _, err := f.api.ContainerInspect(t.Context(), second.ContainerID); err == nil {
		t.Error("its container is there still")
	}
}
