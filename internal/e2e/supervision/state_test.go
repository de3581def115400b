//go:build linux

package supervision

import (
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
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// A spare waits longer than the time an agent has for its credential, and runs its job once
// the credential comes. After it has ended, its job can be read.
func TestSpare(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	f.Spec.Agent = e2e.JITAgent
	changes, err := f.Engine.Changes(t.Context(), f.Spec.Fleet)
	if err != nil {
		t.Fatal(err)
	}
	spare, err := f.Engine.Create(t.Context(), fleet.NewName(f.Spec.Fleet, map[string]bool{}), f.Spec, fleet.Spare, secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Engine.Remove(context.Background(), spare); err != nil {
			t.Error(err)
		}
	})
	f.Ready(spare)
	find := func() fleet.Runner {
		t.Helper()
		known, err := f.Engine.Known(t.Context(), f.Spec.Fleet)
		if err != nil || len(known) != 1 {
			t.Fatalf("known runners: %+v, %v, want one", known, err)
		}
		return f.Engine.Look(t.Context(), known[0])
	}
	e2e.Eventually(t, time.Minute, "the spare waits", func() bool { return find().Waiting })
	if known := find(); known.Start != fleet.Spare || !known.Ready || known.Busy || known.SpecHash != f.Spec.Hash() {
		t.Errorf("got %+v, want a spare, ready, not busy, of spec %s", known, f.Spec.Hash())
	}
	if e2e.Thorough {
		time.Sleep(31 * time.Second) // an agent that is not a spare waits 30 s
		if !find().Waiting {
			t.Fatalf("after 31s: %+v, want it waiting", find())
		}
	}

	credential := e2e.JITConfig(t, `echo "2026-01-01 00:00:00Z: Running job: build (x64)"
		export GITHUB_SERVER_URL=https://github.com GITHUB_REPOSITORY=acme/api GITHUB_RUN_ID=4711 GITHUB_JOB=build
		mkdir -p $root/_diag && echo a worker spoke >$root/_diag/Worker_20260101-000000-utc.log && ln -s /etc/passwd $root/_diag/Runner_1.log
		$ACTIONS_RUNNER_HOOK_JOB_STARTED && docker version --format 'first step: {{.Server.Version}}'
		echo "2026-01-01 00:00:09Z: Job build (x64) completed with result: Failed"; exit 3`)
	if err := f.Engine.Give(t.Context(), spare, credential, f.Spec); err != nil {
		t.Fatal(err)
	}
	code, log := f.Ended(spare)
	if code != 3 || !strings.Contains(log, "agent: first step: 2") {
		t.Errorf("exit code %d, want 3; log:\n%s\nwant %q", code, log, "agent: first step: 2")
	}
	record, err := f.Engine.PostMortem(t.Context(), find())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(record.Name == spare.Name, record.ExitCode, record.Verdict, record.OOMKilled, record.Job, record.JobURL, record.Conclusion, record.Finished.After(record.Started))
	if want := "true 3 ended to update itself false build (x64) https://github.com/acme/api/actions/runs/4711/attempts/1 failure true\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got, want := string(record.Diagnostics), "==> Worker_20260101-000000-utc.log <==\na worker spoke\n"; got != want {
		t.Errorf("diagnostics %q, want %q", got, want)
	}
	lines := record.LogLines()
	if len(lines) == 0 || lines[len(lines)-1].Text != "ended with code 3" || lines[len(lines)-1].Source != "agent" {
		t.Errorf("log:\n%s\nwant a last line %q of agent", record.Log, "ended with code 3")
	}
	for _, want := range []fleet.ChangeKind{fleet.Begun, fleet.Died} {
		if change := <-changes; change.Runner != spare.Name || change.Kind != want {
			t.Errorf("change %+v, want %s of %s", change, want, spare.Name)
		}
	}
}

// A supervisor's state is also kept while no supervisor runs, within its bounds.
func TestState(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	name := f.Spec.Fleet
	state := f.Engine.State(name)
	t.Cleanup(func() {
		if err := f.Engine.StopSupervisor(context.Background(), name); err != nil {
			t.Error(err)
		}
		if err := f.Engine.RemoveState(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	desired := fleet.Desired{Schema: fleet.DesiredSchema, Count: 3, Spares: 1, Spec: f.Spec, Ready: time.Minute}

	t.Run("reading makes nothing", func(t *testing.T) {
		stateIsEmpty(t, state, name)
		if left := e2e.Leftovers(t, f.API, name); len(left) > 0 {
			t.Errorf("reading made %v, want nothing", left)
		}
	})
	e2e.Step(t, "the desired state is kept", func(t *testing.T) { desiredIsKept(t, f, state, desired) })

	// The foreground's hold carries the volume for all readers, and down ends it.
	lost, release, err := f.Engine.HoldSupervisor(t.Context(), name, f.Spec.Image)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	e2e.Step(t, "a second supervisor is refused, and a reload reaches the first", func(t *testing.T) {
		if _, _, err := f.Engine.HoldSupervisor(t.Context(), name, f.Spec.Image); err == nil || !strings.Contains(err.Error(), "has a supervisor in the foreground") {
			t.Errorf("a second one: error %v, want %q", err, "has a supervisor in the foreground")
		}
		reloads, err := f.Engine.Reloads(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Engine.Reload(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		<-reloads
	})
	e2e.Step(t, "old events make room for new ones", func(t *testing.T) { state = newEventsAreKept(t, f, state) })
	e2e.Step(t, "records are kept for a time", func(t *testing.T) { state = recordsAreKept(t, f, state) })
	e2e.Step(t, "records outlive the supervisor", func(t *testing.T) {
		if err := f.Engine.StopSupervisor(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		select {
		case <-lost:
		case <-time.After(20 * time.Second):
			t.Error("the holder does not see its loss, want that within 20s")
		}
		if records, err := f.Engine.State(name).Records(t.Context()); err != nil || len(records) != 2 {
			t.Errorf("without a supervisor: %+v, %v, want two records", records, err)
		}
	})
	e2e.Step(t, "the state is removed, and a killed reader with it", func(t *testing.T) {
		stateIsRemoved(t, f)
		stateIsEmpty(t, state, name)
	})
	t.Run("down removes a state without a fleet", func(t *testing.T) { downRemovesTheState(t, f, desired) })
}

func stateIsEmpty(t *testing.T, state *dockerx.State, name string) {
	t.Helper()
	desired, err := state.Desired(t.Context())
	events, eventsErr := state.Events(t.Context())
	record, recordErr := state.Record(t.Context(), name+"-aaaa")
	if desired != nil || len(events) > 0 || record != nil || err != nil || eventsErr != nil || recordErr != nil {
		t.Errorf("desired state %v, events %v, record %v, errors %v %v %v, want none", desired, events, record, err, eventsErr, recordErr)
	}
}

// desiredIsKept saves a desired and reads it, and then one of a newer runnerctl.
func desiredIsKept(t *testing.T, f *e2e.AgentFleet, state *dockerx.State, desired fleet.Desired) {
	if err := state.SaveDesired(t.Context(), desired); err != nil {
		t.Fatal(err)
	}
	read, err := f.Engine.State(f.Spec.Fleet).Desired(t.Context())
	if err != nil || read == nil || read.Count != 3 || read.Spec.Hash() != f.Spec.Hash() {
		t.Errorf("got %+v, %v, want 3 runners of spec %s", read, err, f.Spec.Hash())
	}
	newer := desired
	newer.Schema++
	if err := state.SaveDesired(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Desired(t.Context()); err == nil || !strings.Contains(err.Error(), "newer runnerctl") {
		t.Errorf("a newer desired state: error %v, want %q", err, "newer runnerctl")
	}
}

// newEventsAreKept appends more events than the state has room for, half of them by a new
// State, which it returns.
func newEventsAreKept(t *testing.T, f *e2e.AgentFleet, state *dockerx.State) *dockerx.State {
	name := f.Spec.Fleet
	line := strings.Repeat("x", 10<<10)
	for part := range 13 { // 1.3 MiB
		var events []fleet.Event
		for i := range 10 {
			events = append(events, fleet.Event{Fleet: name, Kind: fleet.FailedEvent, Text: fmt.Sprint(part*10+i, " ", line)})
		}
		if part == 7 { // by a new State
			state = f.Engine.State(name)
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
			t.Fatalf("event %d is %.10q…, want %q", i, event.Text, want)
		}
	}
	if len(events) < 80 || len(events) > 103 {
		t.Errorf("%d events of 10 KiB are kept, want 80 to 103", len(events))
	}
	return state
}

// recordsAreKept saves three records, one of them too old, and reads them by a new State,
// which it returns.
func recordsAreKept(t *testing.T, f *e2e.AgentFleet, state *dockerx.State) *dockerx.State {
	name := f.Spec.Fleet
	now := time.Now().UTC().Truncate(time.Second)
	record := func(i int, finished time.Time) fleet.Record {
		return fleet.Record{Name: fmt.Sprintf("%s-%04d", name, i), Fleet: name, Finished: finished, Log: []byte("its log\n"), Diagnostics: []byte("its own\n")}
	}
	for i, finished := range []time.Time{now.Add(-fleet.RecordsFor - time.Hour), now.Add(-time.Hour), now} {
		if err := state.SaveRecord(t.Context(), record(i, finished)); err != nil {
			t.Fatal(err)
		}
	}
	state = f.Engine.State(name)
	records, err := state.Records(t.Context())
	if err != nil || len(records) != 2 || records[1].Name != name+"-0002" || records[1].Log != nil {
		t.Errorf("records: %+v, %v, want two, the last %s-0002 without its log", records, err, name)
	}
	one, err := state.Record(t.Context(), name+"-0001")
	if err != nil || one == nil || string(one.Log) != "its log\n" || string(one.Diagnostics) != "its own\n" {
		t.Errorf("record %s-0001: %+v, %v, want log %q and diagnostics %q", name, one, err, "its log\n", "its own\n")
	}
	return state
}

// stateIsRemoved removes the state after a process was killed while reading.
func stateIsRemoved(t *testing.T, f *e2e.AgentFleet) {
	name := f.Spec.Fleet
	labels := map[string]string{"dev.runnerctl.fleet": name, "dev.runnerctl.role": "probe", "dev.runnerctl.schema": "1"}
	if _, err := f.API.ContainerCreate(t.Context(), &container.Config{Image: f.Spec.Image, Labels: labels}, &container.HostConfig{Binds: []string{"runnerctl-state-" + name + ":/state"}}, nil, nil, ""); err != nil {
		t.Fatal(err)
	}
	doctor, err := f.API.ContainerCreate(t.Context(), &container.Config{Image: f.Spec.Image, Labels: labels}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Engine.RemoveState(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := f.API.ContainerRemove(t.Context(), doctor.ID, container.RemoveOptions{RemoveVolumes: true}); err != nil {
		t.Errorf("a doctor's probe at work is gone: %v", err)
	}
}

// downRemovesTheState checks that down finds a killed runnerctl's leftovers of a supervisor,
// even if there is nothing else.
func downRemovesTheState(t *testing.T, f *e2e.AgentFleet, desired fleet.Desired) {
	name := f.Spec.Fleet
	if err := f.Engine.State(name).SaveDesired(t.Context(), desired); err != nil {
		t.Fatal(err)
	}
	if plan, want := e2e.Must(t, "down", "--fleet", name, "--dry-run"), "remove  runnerctl-state-"+name+"  (down)\n"; plan != want {
		t.Errorf("plan:\n%s\nwant\n%s", plan, want)
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "down", "--fleet", name); code != 0 || !strings.Contains(stderr, "runnerctl-state-"+name+"   removed\n") {
		t.Errorf("exit code %d, want 0; stderr:\n%s\nwant %q", code, stderr, "runnerctl-state-"+name+"   removed\n")
	}
	if left := e2e.Leftovers(t, f.API, name); len(left) > 0 {
		t.Errorf("left: %v, want nothing", left)
	}
}

// supervisorStandIn prints the environment of a supervisor's program in its container.
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

// A supervisor's container in the background has few rights, keeps its credential from other
// processes, and takes new desired states. After a kill it comes back.
func TestSupervisorContainer(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	name := f.Spec.Fleet
	options := dockerx.SupervisorOptions{Fleet: name, Program: buildStandIn(t), Roots: []byte("the roots"), Socket: dockerx.SupervisorSocket, Command: []string{"__supervise", name}}
	t.Cleanup(func() {
		if err := f.Engine.StopSupervisor(context.Background(), name); err != nil {
			t.Error(err)
		}
		if err := f.Engine.RemoveState(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	f.StartSupervisor(t, options, "ghp_secret")
	first, err := f.Engine.Supervisor(t.Context(), name)
	if err != nil || !first.Running || first.Foreground {
		t.Fatalf("got %+v, %v, want a supervisor that runs in the background", first, err)
	}
	t.Cleanup(func() { e2e.RemoveImage(t, f.API, first.Image) })
	begun := "begun with [__supervise " + name + "] 10 <nil>\n"
	e2e.Eventually(t, 20*time.Second, "the supervisor begins", func() bool { return strings.Contains(f.SupervisorLog(t), begun) })

	t.Run("it has no capability, and its files are read-only", func(t *testing.T) {
		for _, want := range []string{
			"Uid:\t0\t0\t0\t0\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "roots the roots <nil>\n", "engine HTTP/1.0 200\n",
			"write open /file: read-only file system\n", "write open /credential/file: read-only file system\n", "write open /var/run/file: read-only file system\n",
		} {
			if !strings.Contains(f.SupervisorLog(t), want) {
				t.Errorf("no %q in\n%s", want, f.SupervisorLog(t))
			}
		}
	})
	seen := f.Everywhere(fleet.Runner{ContainerID: first.ContainerID})
	t.Run("others can't read its credential", func(t *testing.T) {
		if strings.Contains(seen, "ghp_secret") || !strings.Contains(seen, "__supervise") {
			t.Errorf("got\n%q\nwant __supervise, and not the credential", seen)
		}
	})
	state := f.Engine.State(name)
	e2e.Step(t, "the desired state is read and written through its container", func(t *testing.T) {
		if err := state.SaveDesired(t.Context(), fleet.Desired{Schema: fleet.DesiredSchema, Count: 2}); err != nil {
			t.Fatal(err)
		}
		desiredOfTwo(t, state)
	})
	e2e.Step(t, "another up notifies it", func(t *testing.T) {
		reloads, err := f.Engine.Reloads(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		f.StartSupervisor(t, options, "another")
		<-reloads
		if again, err := f.Engine.Supervisor(t.Context(), name); err != nil || again.ContainerID != first.ContainerID {
			t.Errorf("got %+v, %v, want container %s", again, err, first.ContainerID)
		}
		if _, _, err := f.Engine.HoldSupervisor(t.Context(), name, f.Spec.Image); err == nil || !strings.Contains(err.Error(), "has a supervisor: the container runnerctl-supervisor-"+name) {
			t.Errorf("a second one in the foreground: error %v, want %q", err, "has a supervisor: the container runnerctl-supervisor-"+name)
		}
	})
	e2e.Step(t, "after a kill it comes back", func(t *testing.T) {
		killSupervisor(t, f.API, first.ContainerID)
		e2e.Eventually(t, 20*time.Second, "it comes back", func() bool {
			again, err := f.Engine.Supervisor(t.Context(), name)
			return err == nil && again.Running && again.Restarts == 1 && strings.Contains(f.SupervisorLog(t), "begun with [__supervise "+name+"] 7 <nil>\n")
		})
	})

	options.Roots = []byte("other roots")
	f.StartSupervisor(t, options, "ghp_secret")
	second, err := f.Engine.Supervisor(t.Context(), name)
	t.Cleanup(func() { e2e.RemoveImage(t, f.API, second.Image) })
	e2e.Step(t, "another program replaces it", func(t *testing.T) {
		if err != nil || second.ContainerID == first.ContainerID || second.Image == first.Image {
			t.Errorf("got %+v, %v, want another container and image than %+v", second, err, first)
		}
		desiredOfTwo(t, state)
	})
	t.Run("after its end, only the state is left", func(t *testing.T) {
		if err := f.Engine.StopSupervisor(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if left := e2e.Leftovers(t, f.API, name); len(left) != 1 || left[0] != "runnerctl-state-"+name {
			t.Errorf("left: %v, want runnerctl-state-%s alone", left, name)
		}
		if _, err := f.API.ContainerInspect(t.Context(), second.ContainerID); err == nil {
			t.Errorf("container %s is still there, want it removed", second.ContainerID)
		}
	})
}

// buildStandIn compiles supervisorStandIn and returns the program's file.
func buildStandIn(t *testing.T) string {
	t.Helper()
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
	return binary
}

func desiredOfTwo(t *testing.T, state *dockerx.State) {
	t.Helper()
	if desired, err := state.Desired(t.Context()); err != nil || desired == nil || desired.Count != 2 {
		t.Errorf("desired state: %+v, %v, want 2 runners", desired, err)
	}
}
