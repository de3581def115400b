package commands

import (
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
)

// up decides what to do about a supervisor from its options and the existing supervisor.
func TestCourse(t *testing.T) {
	none, stopped, there := dockerx.SupervisorState{}, dockerx.SupervisorState{ContainerID: "a"}, dockerx.SupervisorState{ContainerID: "a", Running: true}
	foreground := dockerx.SupervisorState{ContainerID: "a", Running: true, Foreground: true}
	wished, unsaid, refused := upOptions{supervised: true}, upOptions{}, upOptions{noSupervisor: true}
	for _, test := range []struct {
		name    string
		options upOptions
		before  dockerx.SupervisorState
		want    course
	}{
		{"the first up", wished, none, leaves},
		{"another one", wished, there, tells},
		{"one stopped by hand", wished, stopped, leaves},
		{"one in the foreground", wished, foreground, tells},
		{"a fleet without", unsaid, none, unaided},
		{"one that is to have none any more", unsaid, there, unaided},
		{"one in the foreground of a fleet without target", unsaid, foreground, tells},
		{"taken away", refused, there, unaided},
		{"taken away in the foreground", refused, foreground, unaided},
	} {
		if got := test.options.course(test.before); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestUpsOfWhatCantBeSupervised(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, want := range map[string]string{
		"up --attach": "--attach: this fleet has no supervisor",
		"up --attach --target https://github.com/acme/api --no-supervisor":   "--attach: this fleet has no supervisor",
		"up --attach --target https://github.com/acme/api --ephemeral=false": "--attach: this fleet has no supervisor",
		"up --no-supervisor=false": "one in the background needs a target",
		"up --target https://github.com/acme/api --metrics-address 0.0.0.0:80": "expected a loopback address",
	} {
		if code, _, stderr := runnerctl(t.Context(), strings.Fields(args)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, want %d; stderr:\n%s\nwant %q", args, code, exitUsage, stderr, want)
		}
	}
}

// An empty variable does not mean "no".
func TestEmptyBooleans(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, args := range map[string]string{"RUNNERCTL_NO_SUPERVISOR": "up", "RUNNERCTL_EPHEMERAL": "supervise", "RUNNERCTL_BOOTSTRAP_BASE": "build"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "")
			if code, _, stderr := runnerctl(t.Context(), args); code != exitUsage || !strings.Contains(stderr, "$"+name+" is empty: expected true or false") {
				t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, exitUsage, stderr, "$"+name+" is empty: expected true or false")
			}
		})
	}
}
