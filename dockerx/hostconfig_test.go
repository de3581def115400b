//go:build linux

package dockerx

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/moby/profiles/seccomp"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/golden"
)

func goldenSpec() fleet.Spec {
	return fleet.Spec{
		Fleet: "ci", Image: "runnerctl/runner:x", ImageID: "sha256:x", CPUs: 2, Memory: 4 << 30, Pids: 32768, Shm: 1 << 30,
		InnerPrivileged: true, NetworkDriver: "slirp4netns", MTU: 21885, AppArmor: "unconfined",
		Bip: "10.213.0.1/17", Pool: "base=10.213.128.0/17,size=24",
		Ulimits: fleet.Ulimits(true, nil, 1<<20),
	}
}

// The golden files are the security model: a change to them changes docs/security.md too.
func TestContainerConfigGolden(t *testing.T) {
	agent := fleet.Agent{URL: "https://github.com/acme/api", Labels: []string{"gpu", "large"}, Group: "Default"}
	jit, static := agent, agent
	jit.Mode, static.Mode = fleet.JIT, fleet.Token
	runtime, opened, forJIT, forStatic := goldenSpec(), goldenSpec(), goldenSpec(), goldenSpec()
	cached := goldenSpec()
	cached.Cache = &fleet.Cache{Actions: true, Registries: []string{"docker.io"}, Preload: "runnerctl-preload-0f1e-data"}
	opened.Syscalls, opened.Devices = []string{"io_uring", "perf"}, []string{"fuse", "kvm"}
	runtime.Runtime, forJIT.Agent, forStatic.Agent = "sysbox-runc", jit, static
	for name, spec := range map[string]fleet.Spec{"container": goldenSpec(), "container-runtime": runtime, "container-opened": opened, "container-jit": forJIT, "container-static": forStatic, "container-cache": cached} {
		config, host := containerConfig("ci-7k2p", spec, fleet.Usual)
		checkConfig(t, name, config, host)
	}
	config, host := containerConfig("ci-7k2p", forJIT, fleet.Spare)
	checkConfig(t, "container-spare", config, host)
}

// The supervisor's container is not privileged either: its only power is the engine's
// socket.
func TestSupervisorConfigGolden(t *testing.T) {
	config, host := supervisorConfig(SupervisorOptions{Fleet: "ci", Socket: "/var/run/docker.sock", Command: []string{"__supervise", "ci"}}, "runnerctl/supervisor:x")
	checkConfig(t, "supervisor", config, host)
}

// The cache's container has no capability and no engine socket.
func TestCacheConfigGolden(t *testing.T) {
	config, host := cacheConfig(CacheOptions{Command: []string{"__cache", "{}"}}, "runnerctl/supervisor:x")
	checkConfig(t, "cache", config, host)
}

// checkConfig compares a container's configuration with its golden file.
func checkConfig(t *testing.T, name string, config *container.Config, host *container.HostConfig) {
	t.Helper()
	if host.Privileged {
		t.Fatal("privileged")
	}
	if strings.HasPrefix(host.SecurityOpt[0], "seccomp=") {
		host.SecurityOpt[0] = "seccomp=(seccomp.json)" // a golden of its own
	}
	var got bytes.Buffer
	encoder := json.NewEncoder(&got)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(map[string]any{"Config": config, "HostConfig": host}); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/"+name+".json", got.Bytes())
}

func TestSysfsOnlyForInnerPrivileged(t *testing.T) {
	_, host := containerConfig("ci-7k2p", fleet.Spec{}, fleet.Usual)
	for _, mount := range host.Mounts {
		if mount.Type == "bind" {
			t.Errorf("host path %s is mounted unasked", mount.Source)
		}
	}
}

// seccomp.json is Docker's default profile and, behind it, our four entries.
func TestSeccompProfile(t *testing.T) {
	var ours, docker struct {
		DefaultAction string            `json:"defaultAction"`
		ArchMap       []json.RawMessage `json:"archMap"`
		Syscalls      []json.RawMessage `json:"syscalls"`
	}
	if err := json.Unmarshal(seccompProfile, &ours); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(seccomp.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &docker); err != nil {
		t.Fatal(err)
	}
	if ours.DefaultAction != "SCMP_ACT_ERRNO" {
		t.Errorf("default action %s, want %s", ours.DefaultAction, "SCMP_ACT_ERRNO")
	}
	if !bytes.Contains(seccompProfile, []byte("SCMP_ARCH_AARCH64")) {
		t.Error("the profile has no SCMP_ARCH_AARCH64, want it")
	}
	if extra := len(ours.Syscalls) - len(docker.Syscalls); extra != 4 {
		t.Fatalf("%d entries beyond Docker's, want 4", extra)
	}
	compact := func(raw json.RawMessage) string {
		var out bytes.Buffer
		if err := json.Compact(&out, raw); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for i, entry := range docker.Syscalls {
		if compact(entry) != compact(ours.Syscalls[i]) {
			t.Errorf("entry %d: %s, want Docker's %s", i, compact(ours.Syscalls[i]), compact(entry))
		}
	}
	want := []string{
		`{"names":["chroot","clone","mount","pivot_root","sethostname","setns","umount2","unshare"],"action":"SCMP_ACT_ALLOW"}`,
		`{"names":["get_mempolicy","kcmp","mbind","pidfd_getfd","process_madvise","set_mempolicy","set_mempolicy_home_node"],"action":"SCMP_ACT_ALLOW"}`,
		`{"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4154064887,"op":"SCMP_CMP_MASKED_EQ"}]}`,
		`{"names":["add_key","fsconfig","fsmount","fsopen","fspick","io_uring_enter","io_uring_register","io_uring_setup","keyctl","mount_setattr","move_mount","open_tree","request_key"],"action":"SCMP_ACT_ERRNO","errnoRet":38}`,
	}
	for i, entry := range ours.Syscalls[len(docker.Syscalls):] {
		if compact(entry) != want[i] {
			t.Errorf("own entry %d: %s, want %s", i, compact(entry), want[i])
		}
	}
}

// Each word that runners.syscalls accepts opens calls, and no other word does.
func TestWordsThatOpenSyscalls(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(openable)), slices.Sorted(slices.Values(config.Syscalls)); !slices.Equal(got, want) {
		t.Errorf("seccomp.go opens %v, and the settings accept %v", got, want)
	}
}

// The calls that runners.syscalls opens are allowed, and no other rule refuses them; the rest
// of the profile is unchanged.
func TestOpenedSyscalls(t *testing.T) {
	type rule struct {
		Names  []string `json:"names"`
		Action string   `json:"action"`
		Args   []any    `json:"args"`
	}
	read := func(text []byte) (rules []rule) {
		var profile struct {
			Syscalls []rule `json:"syscalls"`
		}
		if err := json.Unmarshal(text, &profile); err != nil {
			t.Fatal(err)
		}
		return profile.Syscalls
	}
	before, after := read(seccompProfile), read(opening(seccompProfile, []string{"io_uring", "perf"}))
	if len(after) != len(before)+1 || strings.Contains(seccompOption(nil), `"perf_event_open"],"action":"SCMP_ACT_ALLOW"}`) {
		t.Fatalf("%d rules after %d, want one more, and perf_event_open not allowed by default", len(after), len(before))
	}
	opened := after[len(before)]
	if opened.Action != "SCMP_ACT_ALLOW" || strings.Join(opened.Names, " ") != "io_uring_enter io_uring_register io_uring_setup perf_event_open" {
		t.Errorf("opened: %+v, want io_uring_enter, io_uring_register, io_uring_setup and perf_event_open allowed", opened)
	}
	for i, rule := range after[:len(before)] {
		for _, name := range opened.Names {
			if rule.Action == "SCMP_ACT_ERRNO" && slices.Contains(rule.Names, name) {
				t.Errorf("%s is refused too", name)
			}
		}
		if rule.Action != "SCMP_ACT_ERRNO" && (strings.Join(rule.Names, " ") != strings.Join(before[i].Names, " ") || !reflect.DeepEqual(rule.Args, before[i].Args)) {
			t.Errorf("rule %d: %+v, want %+v", i, rule, before[i])
		}
	}
}

// A later command knows how a runner started, and so it does for a runner of an older runnerctl.
func TestStartOf(t *testing.T) {
	for _, start := range []fleet.Start{fleet.Usual, fleet.Spare} {
		spec := goldenSpec()
		spec.Agent = fleet.Agent{Mode: fleet.JIT}
		config, _ := containerConfig("ci-7k2p", spec, start)
		if got := startOf(config.Env); got != start {
			t.Errorf("got %q, want %q", got, start)
		}
	}
	if got := startOf([]string{"RUNNERCTL_AGENT=jit", "RUNNERCTL_AGENT_SPARE=true"}); got != fleet.Spare {
		t.Errorf("of an older runnerctl: got %q, want %q", got, fleet.Spare)
	}
}
