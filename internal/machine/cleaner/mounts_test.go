//go:build linux

package cleaner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseMounts(t *testing.T) {
	const info = `21 1 0:19 / / rw,relatime shared:1 - overlay overlay rw
22 21 0:20 /a\040b /tab\011and\134040 rw - tmpfs none rw

broken
23 21 0:21 / /line\012end\043 rw - tmpfs none rw
`
	got, err := parseMounts(strings.NewReader(info))
	want := []mount{{"21", "/"}, {"22", "/tab\tand\\040"}, {"23", "/line\nend#"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	long := "24 21 0:22 / /place rw - overlay overlay lowerdir=" + strings.Repeat("x", 100000)
	if got, err := parseMounts(strings.NewReader(long)); err != nil || len(got) != 1 {
		t.Errorf("a long line: %d mounts, %v", len(got), err)
	}
	if _, err := parseMounts(strings.NewReader(strings.Repeat("x", 2*maxLine))); err == nil {
		t.Error("a line without an end: no error, want one")
	}
}

func TestPlacesOfJobs(t *testing.T) {
	const work = "/home/runner/actions-runner/_work"
	before := []mount{{"1", "/"}, {"2", "/home"}, {"3", work + "/operator"}}
	for _, test := range []struct {
		name   string
		places []string // of new mounts, oldest first
		want   []string
	}{
		{"none", nil, nil},
		{"in the work folder, newest first", []string{work + "/a", work + "/a/b"}, []string{work + "/a/b", work + "/a"}},
		{"the work folder twice", []string{work, work}, []string{work, work}},
		{"over a folder that leads there", []string{"/home/runner", "/home", "/"}, []string{"/home", "/home/runner"}},
		{"the tool cache", []string{"/opt", tools, tools + "/node"}, []string{tools + "/node", tools}},
		{"similar names", []string{work + "2", "/home/runner/actions", "/opt/hostedtoolcache2", "/var/lib/docker/overlay2"}, nil},
	} {
		now := slices.Clone(before)
		for i, place := range test.places {
			now = append(now, mount{fmt.Sprint(10 + i), place})
		}
		if got := ofJobs(now, before, work); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	// A number may be used again.
	if got := ofJobs([]mount{{"3", work}}, before, work); !slices.Equal(got, []string{work}) {
		t.Errorf("got %q, want the mount of a job", got)
	}
}

func TestIdle(t *testing.T) {
	for _, test := range []struct {
		name string
		all  []proc
		want bool
	}{
		{"no listener", []proc{{"1", "0", "init"}, {"2", "1", "bash"}}, true},
		{"a listener alone", []proc{{"1", "0", "init"}, {"2", "1", listener}}, true},
		{"a job", []proc{{"3", "2", "Runner.Worker"}, {"2", "1", listener}}, false},
		{"a job of the second", []proc{{"2", "1", listener}, {"4", "1", listener}, {"5", "4", "Runner.Worker"}}, false},
	} {
		if got := idle(test.all); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]proc{
		"7 (Runner.Listener) S 1 7 7 0": {"7", "1", listener},
		"8 (a) R 1 (b) ) S 7 8":         {"8", "7", "a) R 1 (b) "},
		"":                              {},
		"9 (x":                          {},
		"9 (x) S":                       {},
	} {
		if got, ok := parseStat(text); got != want || ok != (want.pid != "") {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}
