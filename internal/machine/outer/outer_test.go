//go:build linux

package outer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
)

const good = "Name:\tmachine\nNoNewPrivs:\t0\nCapBnd:\t00000000000000c0\n"

// Each option that is missing is named, and no other.
func TestMissing(t *testing.T) {
	denied := func(flag uintptr, err error) func(uintptr, string) error {
		return func(flags uintptr, step string) error {
			if flags&flag == flag && (flag != unix.CLONE_NEWPID || step == TryProc) {
				return err
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		status string
		try    func(uintptr, string) error
		want   []string
	}{
		"nothing":         {good, denied(unix.CLONE_NEWIPC, unix.EPERM), nil},
		"privileges":      {strings.Replace(good, "NoNewPrivs:\t0", "NoNewPrivs:\t1", 1), nil, []string{"privileges that newuidmap and newgidmap gain"}},
		"one capability":  {strings.Replace(good, "c0", "40", 1), nil, []string{"capabilities for newuidmap and newgidmap"}},
		"both":            {"NoNewPrivs:\t1\nCapBnd:\t0\n", nil, []string{"privileges", "capabilities"}},
		"user namespaces": {good, denied(unix.CLONE_NEWUSER, unix.EPERM), []string{"user namespaces: --security-opt seccomp=PROFILE"}},
		"used up":         {good, denied(unix.CLONE_NEWUSER, unix.ENOSPC), []string{"user namespaces: user.max_user_namespaces is 0 or used up"}},
		"mounts":          {good, denied(unix.CLONE_NEWNS, unix.EPERM), []string{"mounts: --security-opt seccomp=PROFILE"}},
		"proc":            {good, denied(unix.CLONE_NEWPID, errors.New("denied")), []string{"an unmasked /proc: --security-opt systempaths=unconfined"}},
	} {
		got := missing(test.status, docker, test.try)
		matches := slices.EqualFunc(got, test.want, func(have, want string) bool { return strings.HasPrefix(have, want) })
		if !matches {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestMissingIDs(t *testing.T) {
	const pod, host = "         0     131072      65536\n", "         0          0 4294967295\n"
	const forPods, forDocker = "runner:1002:64534\nrunner:1:1000\n", "runner:100000:65536\n"
	for _, test := range []struct{ uidMap, subuid, want string }{
		{host, forDocker, ""}, {host, forPods, ""}, {pod, forPods, ""},
		{pod, forDocker, "ids 100000 to 165535, of which this container has 65536 in total: build the image with runnerctl build --for kubernetes"},
	} {
		got := strings.Join(missingIDs(test.uidMap, test.subuid, kubernetes), "; ")
		if !strings.HasPrefix(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%q, %q: got %q, want %q", test.uidMap, test.subuid, got, test.want)
		}
	}
}

// The words of a pod name a pod's fields.
func TestKnobsHere(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if knobsHere() != docker {
		t.Error("got a pod's words, want Docker's")
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	if knobsHere() != kubernetes {
		t.Error("got Docker's words, want a pod's")
	}
}

func TestSubordinate(t *testing.T) {
	for text, want := range map[string]string{
		"runner:100000:65536\n":              "1 100000 65536",
		"runner:1002:64534\nrunner:1:1000\n": "1 1002 64534 64535 1 1000",
	} {
		if got, err := subordinate(text); err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"": "it is empty", "runner": "must hold lines of USER:FIRST:LENGTH", "runner:1:2\nrunner:3\n": "must hold lines", "runner:1:x\n": "invalid syntax"} {
		if _, err := subordinate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestDriverArguments(t *testing.T) {
	for driver, want := range map[string]string{
		machine.SLIRP: "--configure --cidr=169.254.213.0/24 --mtu=1400 --disable-host-loopback 42 tap0",
		machine.Pasta: "--foreground --quiet --config-net --ns-ifname tap0 --mtu 1400 --ipv4-only --no-map-gw" +
			" --address 169.254.213.100 --netmask 255.255.255.0 --gateway 169.254.213.2 --dns-forward 169.254.213.3" +
			" --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none 42",
	} {
		if got := strings.Join(driverArguments(machine.Network{Driver: driver, MTU: 1400}, 42), " "); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestFirstLines(t *testing.T) {
	if got := firstLines(strings.NewReader(strings.Repeat("line\n", 100) + "end")); len(got) != maxLines || got[0] != "line" {
		t.Errorf("%d lines, want %d", len(got), maxLines)
	}
	if got := firstLines(strings.NewReader("")); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
}

// The machine's init and everything in it never sees a credential of the container.
func TestWithoutSecrets(t *testing.T) {
	env := []string{"PATH=/bin", "ACCESS_TOKEN=ghp_x", "RUNNER_TOKEN=x", "APP_PRIVATE_KEY=x", "APP_ID=1", "RUNNERCTL_SETTINGS={}", "https_proxy=http://proxy"}
	if got := withoutSecrets(env); !slices.Equal(got, []string{"PATH=/bin", "https_proxy=http://proxy"}) {
		t.Errorf("got %q", got)
	}
}
