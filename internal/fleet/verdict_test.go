package fleet

import "testing"

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		code        int
		outOfMemory bool
		want        string
	}{
		{0, false, "done"},
		{0, true, "done, out of memory"}, // the kernel killed a process of a job
		{1, false, "the agent failed: see its log"},
		{7, false, "GitHub no longer accepts this runner version: rebuild the image"},
		{70, false, "a daemon of the runner gave up: see its log"},
		{70, true, "a daemon of the runner gave up: see its log, out of memory"},
		{77, false, "GitHub has deleted its registration: runnerctl up makes another runner"},
		{137, false, "killed by its job or from outside, or not stopped in time"},
		{137, true, "killed by the kernel: out of memory"},
		{134, false, "ended by signal 6"},
		{6, false, "ended with the unknown code 6"}, // the listener uses it only internally
		{99, false, "ended with the unknown code 99"},
		{255, false, "ended with the unknown code 255"},
	} {
		if got := Verdict(test.code, test.outOfMemory); got != test.want {
			t.Errorf("%d, out of memory %t: %q", test.code, test.outOfMemory, got)
		}
	}
}

// A static runner whose registration is gone is replaced, and the fix is named.
func TestEndsAgainAndAgain(t *testing.T) {
	static := Agent{Mode: Token, URL: "https://github.com/acme"}
	for want, runner := range map[string]Runner{
		"it keeps exiting": {Agent: static},
		"it keeps exiting: GitHub has deleted its registration: runnerctl up makes another runner": {Agent: static, ExitCode: 77},
		"it keeps exiting: killed by the kernel: out of memory":                                    {Agent: static, ExitCode: 137, OutOfMemory: true},
	} {
		runner.State, runner.Revivals = Restarting, 4
		for _, policy := range []Policy{{}, {Once: true}} {
			if got := (Observed{Runner: runner}).lost(policy); got != want {
				t.Errorf("policy %+v: %q, want %q", policy, got, want)
			}
		}
	}
}
