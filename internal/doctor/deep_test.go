package doctor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// The file of attempts fills the gaps of the output: an attempt that did not end, or has
// another result, is not blocked.
func TestReadAttempts(t *testing.T) {
	wanted := Attempts("use strict;\nattempt \"kcore\", \"/proc/kcore\",\n\t\"memory could be read\", sub { 1 };\nattempt \"swap\", \"a swap file\",\n\t\"memory could go\", sub {\n};\nattempt \"perf\", \"a counter\",\n\t\"others could be watched\", sub {\n};\n")
	got := ReadAttempts("root", "kcore\tblocked\tPermission denied\na program's own words\nother\tescaped\t\nperf\tblock", wanted, errors.New("killed"))
	want := []Attempt{
		{"kcore", "root", "/proc/kcore", "memory could be read", Blocked, "Permission denied"},
		{"swap", "root", "a swap file", "memory could go", NotAttempted, "the attempts stopped early: killed"},
		{"perf", "root", "a counter", "others could be watched", NotAttempted, "the attempts stopped early: killed"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := ReadAttempts("root", "kcore\tperhaps\t\n", wanted[:1], nil)[0]; got.Verdict != NotAttempted || got.Reason != "no such verdict: perhaps" {
		t.Errorf("got %+v, want %s: no such verdict: perhaps", got, NotAttempted)
	}
}

func TestJudge(t *testing.T) {
	blocked := Attempt{ID: "a", Verdict: Blocked}
	absent := Attempt{ID: "a", Verdict: NotAttempted, Reason: "no canary"}
	escaped := Attempt{ID: "b", Title: "a disk", Meaning: "all could be read", Verdict: Escaped, Reason: "it opened"}
	runner := Battery{As: "runner", Attempts: []Attempt{blocked}}
	for name, test := range map[string]struct {
		batteries       []Battery
		status          Status
		observed, error string
	}{
		"all blocked":        {[]Battery{runner}, Pass, "1 blocked, 0 escaped, 0 not attempted", ""},
		"somebody could not": {[]Battery{runner, {"container", []Attempt{absent}, nil}}, Warn, "1 blocked, 0 escaped, 1 not attempted; nothing could be tried as container: no canary", ""},
		"one came to no end": {[]Battery{runner, {"container", []Attempt{blocked, absent}, errors.New("killed")}}, Fail, "2 blocked, 0 escaped, 1 not attempted", "as container: the attempts stopped early: killed"},
		"one got out":        {[]Battery{{"root", []Attempt{blocked, escaped}, nil}}, Fail, "1 blocked, 1 escaped, 0 not attempted", "as root: a disk (b): it opened; so all could be read"},
	} {
		step := Judge("escape", "attempts", test.batteries, 1)
		if step.Status != test.status || step.Observed != test.observed || step.Error != test.error {
			t.Errorf("%s: %+v, want %s %q %q", name, step, test.status, test.observed, test.error)
		}
	}
}

func TestWriteStep(t *testing.T) {
	same := func(s string) string { return s }
	style := Style{OK: same, Fail: same, Warn: same, Dim: same, Bold: same}
	for _, test := range []struct {
		step Step
		want string
	}{
		{Step{Title: "docker run", Status: Pass, Seconds: 1.26, Observed: "Docker 26.1"}, "  ✔   1.3s  docker run  Docker 26.1\n"},
		{Skipped("egress", "the way out", "--offline"), "  –         the way out  --offline\n"},
		{FailedStep("run", "docker run", "what nobody knows\nin two lines\n", time.Second), "  ✘   1.0s  docker run  what nobody knows\n            what nobody knows\n            in two lines\n"},
		{FailedStep("storage", "storage driver", "storage driver vfs on overlayfs", time.Second), "  ✘   1.0s  storage driver  storage driver vfs on overlayfs\n" +
			"            why  the daemon's data is on an overlay file system, or on another file system that overlay2 does not support\n            fix  keep the volume at /rootfs/var/lib/docker on ext4 or xfs\n"},
	} {
		var got strings.Builder
		WriteStep(&got, test.step, style)
		if got.String() != test.want {
			t.Errorf("got\n%swant\n%s", got.String(), test.want)
		}
	}
}
