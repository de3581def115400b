//go:build linux

package docker

import (
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/machine"
)

var options = Options{Docker: machine.Docker{Bip: "10.1.0.1/17", Pools: []string{"base=10.2.0.0/17,size=24"}}, MTU: 1400}

func TestArguments(t *testing.T) {
	const whole = "--rootless --host unix:///run/docker.sock --group docker --data-root /var/lib/docker --exec-root /run/docker --pidfile /run/docker.pid" +
		" --containerd /run/containerd/containerd.sock --log-level warn --log-driver json-file --log-opt max-size=10m --log-opt max-file=3" +
		" --mtu 1400 --default-network-opt bridge=com.docker.network.driver.mtu=1400 --default-address-pool base=10.2.0.0/17,size=24 --bip 10.1.0.1/17"
	without := func(flags ...string) string {
		text := strings.Replace(whole, "--rootless", "--rootless --config-file /etc/docker/daemon.json", 1)
		for _, flag := range flags {
			at := strings.Index(text, " "+flag+" ")
			end := strings.Index(text[at+1:]+" --", " --")
			text = text[:at] + text[at+1+end:]
		}
		return text
	}
	for settings, want := range map[string]string{
		"":                           whole,
		"{}":                         without(),
		`{"bip": "10.9.0.1/24"}`:     without("--bip"),
		`{"bridge": "br0"}`:          without("--bip"),
		`{"fixed-cidr": "x"}`:        without("--bip"),
		`{"log-opts": {"a": "b"}}`:   without("--log-driver", "--log-opt max-size=10m", "--log-opt"),
		`{"hosts": ["tcp://0:1"]}`:   without("--host"),
		`{"a": {"mtu": 1}}`:          without(),
		`{"mtu": 1, "log-level": `:   without("--mtu", "--log-level"),
		`{"mtu": 1, broken`:          without("--mtu"),
		`["mtu"]`:                    without(),
		`{"default-address-pools":1`: without("--default-address-pool"),
	} {
		if got := strings.Join(options.Arguments([]byte(settings), settings != ""), " "); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", settings, got, want)
		}
	}
	withIPv6 := options
	withIPv6.IPv6 = true
	if got := withIPv6.Arguments(nil, false); !slices.Contains(got, "base=fd7a:213::/104,size=112") {
		t.Errorf("got %v, want a pool of IPv6", got)
	}
}

func TestMerge(t *testing.T) {
	for _, test := range []struct{ name, own, operator, want string }{
		{"another key", `{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`},
		{"the operator's value counts", `{"a":1}`, `{"a":2}`, `{"a":2}`},
		{"objects key by key", `{"log-opts":{"a":"1","b":"2"}}`, `{"log-opts":{"b":"3"}}`, `{"log-opts":{"a":"1","b":"3"}}`},
		{"an object in place of a list", `{"a":[1]}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{"null", `null`, `{"a":1}`, `{"a":1}`},
	} {
		got, err := merge([]byte(test.own), []byte(test.operator))
		if text := strings.NewReplacer(" ", "", "\n", "").Replace(string(got)); err != nil || text != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, text, err, test.want)
		}
	}
	for _, broken := range []string{`{`, `[]`, ``} {
		if _, err := merge([]byte(broken), []byte(`{}`)); err == nil {
			t.Errorf("%q: no error, want one", broken)
		}
	}
}

func TestOtherDataRoot(t *testing.T) {
	for settings, want := range map[string]string{"": "", `{}`: "", `{"data-root": "/srv/docker"}`: "/srv/docker", `{"data-root": 1}`: "", `{"data-root": "/x"`: ""} {
		if got := otherDataRoot([]byte(settings)); got != want {
			t.Errorf("%s: got %q, want %q", settings, got, want)
		}
	}
}
