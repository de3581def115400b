//go:build linux

package machine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

type breakage struct {
	script, problem string
	long            bool // runs with the build tag long
}

// breaks are the ways in which a job can break its machine as root, each with the reason why
// jobs can't use the runner then, or "" if they still can.
var breaks = []breakage{
	{"apt-get remove -y -qq jq curl >/dev/null", "", true},
	{"rm -r /usr/lib/runnerctl", "", true},
	{"mv /bin/sh /bin/sh.gone", "", false},
	{"chmod 666 /run/docker.sock", "", true},
	{"rm /run/docker.sock /run/runnerctl/docker.sock", "/run/docker.sock is gone", true},
	{"umount -l /run", "/run/docker.sock is gone", false},
	{": >/etc/passwd", "/etc/passwd has no user runner", false},
	{"mv /home/runner /home/other", "the user runner has no home", false},
	{"chmod 0 /", "the user runner may not enter /home/runner", false},
	{"sed -i /^docker:/d /etc/group", "the user runner may not use /run/docker.sock", true},
	{"chmod 600 /run/docker.sock", "the user runner may not use /run/docker.sock", true},
	{"pkill -STOP -x dockerd", "dockerd is stopped by a signal", true},
}

// For each thing that a job breaks, ps names the problem and exec still works. up replaces
// the runners that jobs can't use and keeps the others.
func TestBrokenMachines(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	breaks := slices.Clone(breaks)
	if !e2e.Thorough {
		breaks = slices.DeleteFunc(breaks, func(one breakage) bool { return one.long })
	}
	count := len(breaks)
	e2e.Must(t, e2e.Up(name, "--count", strconv.Itoa(count))...)
	runners := e2e.List(t, name)
	usable := map[string]bool{}
	for i, one := range breaks {
		// The script breaks its own shell's root filesystem, so its exit code means nothing.
		e2e.Runnerctl(t.Context(), "exec", "--root", runners[i].Name, "--", "bash", "-c", one.script)
		usable[runners[i].Name] = one.problem == ""
	}
	table := e2e.Must(t, "ps", "--fleet", name)
	for i, runner := range e2e.List(t, name) {
		one := breaks[i]
		if runner.Ready != (one.problem == "") || !strings.HasPrefix(runner.Problem, one.problem) {
			t.Errorf("%s: ready %t, %q, want %q", one.script, runner.Ready, runner.Problem, one.problem)
		}
		if one.problem != "" && !strings.Contains(table, "not answering: "+runner.Problem) {
			t.Errorf("%s: ps shows\n%s\nwant the problem %q", one.script, table, runner.Problem)
		}
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "exec", "--root", runner.Name, "--", "/usr/bin/id", "-u")
		if code != 0 || stdout != "0\n" {
			t.Errorf("%s: exec: exit code %d, want 0; stdout %q, want %q; stderr:\n%s", one.script, code, stdout, "0\n", stderr)
		}
	}
	e2e.Must(t, e2e.Up(name, "--count", strconv.Itoa(count))...)
	kept, want := 0, 0
	for _, well := range usable {
		if well {
			want++
		}
	}
	for _, runner := range e2e.List(t, name) {
		if !runner.Ready {
			t.Errorf("after up: %+v, want it ready", runner)
		}
		if well, before := usable[runner.Name]; before {
			kept++
			if !well {
				t.Errorf("%s was kept, want it replaced", runner.Name)
			}
		}
	}
	if kept != want {
		t.Errorf("%d of the %d that jobs can use were kept, want all", kept, want)
	}
}

// A runner without a network ends at once with a few lines of log. If it is not removed, it
// comes back.
func TestNetworkGone(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	e2e.Runnerctl(t.Context(), "exec", "--root", runner.Name, "--", "ip", "link", "del", "tap0")
	e2e.Eventually(t, 30*time.Second, "the runner is started again", func() bool {
		now := e2e.List(t, name)[0]
		return now.Revivals == 1 && now.Ready
	})
	if log := e2e.ContainerLog(t, api, runner.ContainerID); !strings.Contains(log, "start: slirp4netns ended, so this runner ends too: it has no network") || strings.Count(log, "start: slirp4netns") > 12 {
		t.Errorf("log:\n%s\nwant %q, and at most 12 lines of slirp4netns", log, "start: slirp4netns ended, so this runner ends too: it has no network")
	}
	if text := e2e.Must(t, "inspect", runner.Name); strings.Contains(text, "exit code 0") {
		t.Errorf("inspect:\n%s\nwant no exit code: that of the end before is unknown", text)
	}
}

// A dockerd that a job stopped does not delay the end of its runner.
func TestDownOfAStoppedDaemon(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	e2e.Must(t, "exec", "--root", e2e.List(t, name)[0].Name, "--", "pkill", "-STOP", "-x", "dockerd")
	begun := time.Now()
	e2e.Must(t, "down", "--fleet", name)
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("down took %s, want at most 40s", took)
	}
}

// A command ends when its caller is interrupted, with or without a terminal.
func TestInterruptedExec(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	for _, script := range []string{"sleep 1001 & sleep 1002", "trap '' TERM; while :; do sleep 1; done"} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		ended := make(chan int, 1)
		go func() {
			code, _, _ := e2e.Runnerctl(ctx, "exec", runner.Name, "--", "sh", "-c", script)
			ended <- code
		}()
		busy := func() bool { return e2e.List(t, name)[0].Busy }
		e2e.Eventually(t, time.Minute, script+" runs", busy)
		interrupt(commands.ErrInterrupted)
		if code := <-ended; code != commands.ExitInterrupted {
			t.Errorf("%s: exit code %d, want %d", script, code, commands.ExitInterrupted)
		}
		e2e.Eventually(t, 30*time.Second, script+" has ended in "+runner.Name, func() bool { return !busy() })
	}
}
