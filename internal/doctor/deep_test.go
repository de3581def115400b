package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestReadAttempts(t *testing.T) {
	got := ReadAttempts("root", "kcore\tblocked\tPermission denied\t/proc/kcore\tmemory could be read\na program's own words\n")
	want := Attempt{ID: "kcore", As: "root", Title: "/proc/kcore", Meaning: "memory could be read", Verdict: Blocked, Reason: "Permission denied"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v", got)
	}
}

// What did not come to an end is not blocked.
func TestFillAttempts(t *testing.T) {
	earlier := []Attempt{{ID: "a", As: "runner", Verdict: Blocked}, {ID: "b", As: "runner", Verdict: Blocked}, {ID: "a", As: "root", Verdict: Blocked}}
	got := FillAttempts("container", []Attempt{{ID: "a", As: "container", Verdict: Blocked}}, earlier, errors.New("no container"))
	if len(got) != 2 || got[1].ID != "b" || got[1].As != "container" || got[1].Verdict != NotAttempted || !strings.Contains(got[1].Reason, "no container") {
		t.Errorf("%+v", got)
	}
}

func TestJudge(t *testing.T) {
	blocked := Attempt{ID: "a", As: "runner", Verdict: Blocked}
	absent := Attempt{ID: "a", As: "container", Verdict: NotAttempted, Reason: "no image"}
	escaped := Attempt{ID: "b", As: "root", Title: "a disk", Meaning: "all could be read", Verdict: Escaped, Reason: "it opened"}
	for name, test := range map[string]struct {
		attempts        []Attempt
		status          Status
		observed, error string
	}{
		"all blocked":        {[]Attempt{blocked}, Pass, "1 blocked, 0 escaped, 0 not attempted", ""},
		"somebody could not": {[]Attempt{blocked, absent}, Warn, "1 blocked, 0 escaped, 1 not attempted; nothing could be tried as container: no image", ""},
		"one got out":        {[]Attempt{blocked, escaped, absent}, Fail, "1 blocked, 1 escaped, 1 not attempted; nothing could be tried as container: no image", "as root: a disk (b): it opened; so all could be read"},
	} {
		step := Judge("escape", "attempts", test.attempts, 1)
		if step.Status != test.status || step.Observed != test.observed || step.Error != test.error {
			t.Errorf("%s: %+v", name, step)
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
			"            why  the daemon's data is on an overlay file system, or another that overlay2 can't stand on\n            fix  keep the volume at /rootfs/var/lib/docker on ext4 or xfs\n"},
	} {
		var got strings.Builder
		WriteStep(&got, test.step, style)
		if got.String() != test.want {
			t.Errorf("got\n%swant\n%s", got.String(), test.want)
		}
	}
}
