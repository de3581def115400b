package machine

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func lookup(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestSettingsTravelWhole(t *testing.T) {
	want := Settings{
		Network: Network{Driver: Pasta, MTU: 1400},
		Docker:  Docker{Bip: "10.1.0.1/16", Pools: []string{"base=10.2.0.0/16,size=24"}, Daemon: json.RawMessage(`{"debug":true}`)},
		Shm:     1 << 20,
		Env:     []string{"A=b", "TWO=c d"},
		Agent: &Agent{
			Mode: JIT, URL: "https://github.com/acme/api", Name: "ci-aaaa", Labels: []string{"gpu"}, Group: "Default",
			Ephemeral: true, Spare: true, API: "https://api.github.com/repos/acme/api", Work: "/work", NoGitHubLabels: true,
		},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromEnvironment(lookup(map[string]string{EnvSettings: string(text), EnvJobs: "not=read"}))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestSettingsOfAContainerByHand(t *testing.T) {
	got, err := FromEnvironment(lookup(map[string]string{EnvJobs: "A=b\nC=d"}))
	want := Settings{
		Network: Network{Driver: SLIRP, MTU: 21885}, Docker: Docker{Bip: "10.213.0.1/17", Pools: []string{"base=10.213.128.0/17,size=24"}},
		Shm: 1 << 30, Env: []string{"A=b", "C=d"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestAddressesOfAContainerByHand(t *testing.T) {
	got, err := FromEnvironment(lookup(map[string]string{EnvBip: "10.99.0.1/17", EnvPools: "base=10.99.128.0/18,size=24 base=10.99.192.0/18,size=24"}))
	want := Docker{Bip: "10.99.0.1/17", Pools: []string{"base=10.99.128.0/18,size=24", "base=10.99.192.0/18,size=24"}}
	if err != nil || !reflect.DeepEqual(got.Docker, want) {
		t.Errorf("got %+v, %v, want %+v", got.Docker, err, want)
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"network":{"driver":"vpnkit"}}`: `unknown network driver "vpnkit"`,
		`{"newer":1}`:                     `RUNNERCTL_SETTINGS: json: unknown field "newer"`,
		`{`:                               "RUNNERCTL_SETTINGS: unexpected EOF",
	} {
		if _, err := FromEnvironment(lookup(map[string]string{EnvSettings: text})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// An empty document is the zero value: new settings don't change the containers of a fleet
// that does not use them.
func TestZeroSettingsAreEmpty(t *testing.T) {
	if text, err := json.Marshal(Settings{}); err != nil || string(text) != "{}" {
		t.Errorf("got %s, %v, want {}", text, err)
	}
}
