package dockerx

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
)

func TestMachineSettings(t *testing.T) {
	spec := fleet.Spec{
		NetworkDriver: "pasta", MTU: 1400, Bip: "10.213.0.1/17", Pool: "base=10.213.128.0/17,size=24 base=fd7a:213::/104,size=112", Shm: 1 << 20,
		Dockerd: `{"debug":true}`, Env: map[string]string{"TZ": "Europe/Berlin", "A": "b c"},
		Agent: fleet.Agent{Mode: fleet.JIT, URL: "https://github.com/acme/api", Labels: []string{"gpu"}, Group: "builders", Ephemeral: true},
	}
	want := machine.Settings{
		Network: machine.Network{Driver: "pasta", MTU: 1400},
		Docker:  machine.Docker{Bip: "10.213.0.1/17", Pools: []string{"base=10.213.128.0/17,size=24", "base=fd7a:213::/104,size=112"}, Daemon: json.RawMessage(`{"debug":true}`), OnDemand: true},
		Shm:     1 << 20, Env: []string{"A=b c", "TZ=Europe/Berlin"},
		Agent: &machine.Agent{Mode: machine.JIT, URL: "https://github.com/acme/api", Name: "ci-7k2p", Labels: []string{"gpu"}, Group: "builders", Ephemeral: true, Spare: true},
	}
	if got := machineSettings("ci-7k2p", spec, fleet.Spare); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// The container's variable holds them, and they are read back.
	env := environment("ci-7k2p", spec, fleet.Spare)
	if got := settingsOf(env); !reflect.DeepEqual(got, want) {
		t.Errorf("read back: %+v, want %+v", got, want)
	}
	if got := agentOf(env); !reflect.DeepEqual(got, spec.Agent) {
		t.Errorf("agent: %+v, want %+v", got, spec.Agent)
	}
}

func TestDaemonOnDemand(t *testing.T) {
	jit, static := fleet.Agent{Mode: fleet.JIT, Ephemeral: true}, fleet.Agent{Mode: fleet.Token}
	for _, test := range []struct {
		name  string
		spec  fleet.Spec
		start fleet.Start
		want  bool
	}{
		{"one job", fleet.Spec{Agent: jit}, fleet.Usual, true},
		{"a spare", fleet.Spec{Agent: jit}, fleet.Spare, true},
		{"the first runner of an image", fleet.Spec{Agent: jit}, fleet.Prove, false},
		{"one job, eager", fleet.Spec{Agent: jit, DockerStart: fleet.Eager}, fleet.Usual, false},
		{"many jobs", fleet.Spec{Agent: static}, fleet.Usual, false},
		{"many jobs, on demand", fleet.Spec{Agent: static, DockerStart: fleet.OnDemand}, fleet.Usual, true},
		{"no agent", fleet.Spec{}, fleet.Usual, false},
		{"no agent, on demand", fleet.Spec{DockerStart: fleet.OnDemand}, fleet.Usual, true},
	} {
		if got := machineSettings("ci-7k2p", test.spec, test.start).Docker.OnDemand; got != test.want {
			t.Errorf("%s: on demand %t, want %t", test.name, got, test.want)
		}
	}
	if got := machineSettings("a", fleet.Spec{DockerStart: fleet.OnDemand, IdleStop: time.Minute}, fleet.Usual).Docker.IdleStop; got != 60 {
		t.Errorf("stops after %d seconds, want 60", got)
	}
}

// Containers of the runnerctl before it had settings in JSON are understood.
func TestOlderSettings(t *testing.T) {
	env := []string{
		"RUNNERCTL_NET_DRIVER=slirp4netns", "RUNNERCTL_MTU=21885", "RUNNERCTL_BIP=10.213.0.1/17", "RUNNERCTL_POOLS=base=10.213.128.0/17,size=24", "RUNNERCTL_SHM_SIZE=1073741824",
		"RUNNERCTL_AGENT=jit", "RUNNERCTL_AGENT_URL=https://github.com/acme/api", "RUNNERCTL_AGENT_LABELS=gpu,large", "RUNNERCTL_AGENT_GROUP=Default", "RUNNERCTL_AGENT_EPHEMERAL=true",
		"RUNNERCTL_AGENT_START=spare",
	}
	want := fleet.Agent{Mode: fleet.JIT, URL: "https://github.com/acme/api", Labels: []string{"gpu", "large"}, Group: "Default", Ephemeral: true}
	if got := agentOf(env); !reflect.DeepEqual(got, want) || startOf(env) != fleet.Spare {
		t.Errorf("got %+v, start %q, want %+v, a spare", got, startOf(env), want)
	}
	if got := settingsOf(env); got.Network.MTU != 21885 || got.Docker.Bip != "10.213.0.1/17" || got.Shm != 1<<30 {
		t.Errorf("got %+v", got)
	}
	if got := agentOf(nil); got.Mode != fleet.NoAgent || startOf(nil) != fleet.Usual {
		t.Errorf("without variables: %+v, want no agent", got)
	}
}

func TestProxy(t *testing.T) {
	spec := fleet.Spec{Bip: "10.213.0.1/17", Pool: "base=10.213.128.0/17,size=24 base=fd7a:213::/104,size=112"}
	if got := proxy(spec); len(got) > 0 {
		t.Errorf("without settings: %q, want nothing", got)
	}
	spec.Env = map[string]string{"TZ": "Europe/Berlin"}
	spec.Proxy = &fleet.Proxy{HTTPS: "http://proxy:3128", Except: []string{".corp.example.com"}}
	const except = ".corp.example.com,localhost,127.0.0.1,::1,host.docker.internal,169.254.213.0/24,10.213.0.0/17,10.213.128.0/17,fd7a:213::/104"
	want := []string{"https_proxy=http://proxy:3128", "HTTPS_PROXY=http://proxy:3128", "no_proxy=" + except, "NO_PROXY=" + except}
	if got := proxy(spec); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	plain := fleet.Spec{}
	for name, other := range map[string]fleet.Spec{"env": {Env: spec.Env}, "proxy": {Proxy: spec.Proxy}} {
		if other.Hash() == plain.Hash() {
			t.Errorf("%s does not change the spec", name)
		}
	}
	if empty := (fleet.Spec{Env: map[string]string{}}); empty.Hash() != plain.Hash() {
		t.Error("an empty env rolls a fleet")
	}
}
