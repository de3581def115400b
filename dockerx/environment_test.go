package dockerx

import (
	"slices"
	"testing"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func TestEnvironment(t *testing.T) {
	spec := fleet.Spec{Bip: "10.213.0.1/17", Pool: "base=10.213.128.0/17,size=24 base=fd7a:213::/104,size=112"}
	if got := environment(spec); len(got) > 0 {
		t.Errorf("without settings: %q, want nothing", got)
	}
	spec.Env = map[string]string{"TZ": "Europe/Berlin", "A": "b c"}
	spec.Proxy = &fleet.Proxy{HTTPS: "http://proxy:3128", Except: []string{".corp.example.com"}}
	const except = ".corp.example.com,localhost,127.0.0.1,::1,host.docker.internal,169.254.213.0/24,10.213.0.0/17,10.213.128.0/17,fd7a:213::/104"
	want := []string{
		"RUNNERCTL_ENV=A=b c\nTZ=Europe/Berlin",
		"https_proxy=http://proxy:3128", "HTTPS_PROXY=http://proxy:3128", "no_proxy=" + except, "NO_PROXY=" + except,
	}
	if got := environment(spec); !slices.Equal(got, want) {
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
