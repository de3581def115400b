package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/doctor"
)

var wanted = Wanted{Namespace: "runnerctl-ci"}

// ready is a cluster with everything.
func ready() State {
	return State{
		Minor: 37, Labels: map[string]string{enforce: "baseline", enforceAs: "latest"}, Handler: class, Secret: true, Controller: true,
		Nodes: []Node{
			{Name: "a", Kernel: "6.12.1-amd64", Runtime: "containerd://2.1.9", Prepared: true, Handlers: map[string]bool{"": true, class: true}},
			{Name: "old", Kernel: "5.10.0", Runtime: "containerd://1.7.1"},
		},
	}
}

// run returns the checks that do not pass, each with its outcome.
func run(t *testing.T, of State, wanted Wanted) map[string]doctor.Result {
	t.Helper()
	found := map[string]doctor.Result{}
	for _, result := range doctor.Run(t.Context(), Checks(of, wanted), doctor.Env{}, time.Minute).Checks {
		if result.Status != doctor.Pass {
			found[result.ID] = result
		}
	}
	return found
}

func TestReady(t *testing.T) {
	if found := run(t, ready(), wanted); len(found) > 0 {
		t.Errorf("got %+v, want no problem", found)
	}
	plugin := ready()
	plugin.Nodes[0].Devices, plugin.Handler, plugin.Nodes[0].Handlers = 1000, "", nil
	if found := run(t, plugin, Wanted{Namespace: "runnerctl-ci", Plugin: true}); len(found) > 0 {
		t.Errorf("with a device plugin: got %+v, want no problem", found)
	}
}

// Each missing part fails one check, which names it and the remedy.
func TestMissing(t *testing.T) {
	plugin := Wanted{Namespace: "runnerctl-ci", Plugin: true}
	for name, test := range map[string]struct {
		change           func(*State)
		wanted           Wanted
		id, said, remedy string
	}{
		"version":            {func(s *State) { s.Minor, s.Labels[enforce] = 32, "privileged" }, wanted, "version", "Kubernetes 1.32", "1.33"},
		"namespace":          {func(s *State) { s.Labels = nil }, wanted, "namespace", "no namespace runnerctl-ci", "apply -f namespace.yaml"},
		"restricted":         {func(s *State) { s.Labels[enforce] = "restricted" }, wanted, "namespace", "restricted", enforce + "=baseline"},
		"baseline of old":    {func(s *State) { s.Minor = 34 }, wanted, "namespace", "baseline of 1.34", "namespace-before-1.35.yaml"},
		"old baseline":       {func(s *State) { s.Labels[enforceAs] = "v1.30" }, wanted, "namespace", "baseline of 1.30", "namespace-before-1.35.yaml"},
		"class":              {func(s *State) { s.Handler = "" }, wanted, "class", "no runtime class", "runtimeclass.yaml"},
		"other handler":      {func(s *State) { s.Handler = "runc" }, wanted, "class", "handler runc", "runtimeclass.yaml"},
		"kernel":             {func(s *State) { s.Nodes[0].Kernel = "6.1.0-40-amd64" }, wanted, "kernel", "a: 6.1.0-40-amd64", "6.3"},
		"containerd":         {func(s *State) { s.Nodes[0].Runtime = "containerd://1.7.27" }, wanted, "runtime", "containerd 1.7.27", "2.0"},
		"CRI-O":              {func(s *State) { s.Nodes[0].Runtime = "cri-o://1.34.0" }, wanted, "runtime", "cri-o", "containerd"},
		"handler":            {func(s *State) { delete(s.Nodes[0].Handlers, class) }, wanted, "handler", "does not know runnerctl", "install.sh"},
		"no user namespaces": {func(s *State) { s.Nodes[0].Handlers[class] = false }, wanted, "handler", "no user namespaces", "install.sh"},
		"plugin":             {func(*State) {}, plugin, "device", "a: no dev.runnerctl/tun", "device-plugin.yaml"},
		"secret":             {func(s *State) { s.Secret = false }, wanted, "secret", "no secret runnerctl-github", "create secret"},
		"controller":         {func(s *State) { s.Controller = false }, wanted, "controller", "actions.github.com", "gha-runner-scale-set-controller"},
		"seccomp": {func(s *State) {
			s.Waiting = []Pod{{"runner", `CreateContainerError: failed to generate spec opts: cannot load seccomp profile "/var/lib/kubelet/seccomp/runnerctl.json": no such file`}, {Name: "b", Message: "x"}}
		}, wanted, "pods", "(and 1 more)", "install.sh"},
		"unknown words": {func(s *State) { s.Waiting = []Pod{{"runner", "ErrImagePull: denied"}} }, wanted, "pods", "runner: ErrImagePull: denied", "kubectl describe pod runner"},
	} {
		state := ready()
		test.change(&state)
		found := run(t, state, test.wanted)
		got := found["cluster."+test.id]
		if len(found) != 1 || got.Status != doctor.Fail || !strings.Contains(got.Observed, test.said) || !strings.Contains(got.Remedy.Text, test.remedy) {
			t.Errorf("%s: got %+v, want only %s to fail with %q and %q", name, found, test.id, test.said, test.remedy)
		}
	}
}

// Without a prepared node, its checks are skipped.
func TestNoNode(t *testing.T) {
	state := ready()
	state.Nodes = state.Nodes[1:]
	found := run(t, state, wanted)
	if found["cluster.nodes"].Status != doctor.Fail || found["cluster.kernel"].Status != doctor.Skip || len(found) != 4 {
		t.Errorf("got %+v, want nodes to fail, and its checks to be skipped", found)
	}
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]string{"6.3": "", "6.3.0-rc1": "", "7.0": "", "v6.10": "", "6.2.9": "old", "5.19": "old", "": "old"} {
		if got := atLeast(version, "old", 6, 3); got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
}
