package fleet

import (
	"slices"
	"testing"
)

func TestUlimits(t *testing.T) {
	own := map[string]int64{"core": Unlimited, "memlock": 8 << 20, "nofile": 20000, "nproc": 96364}
	for name, one := range map[string]struct {
		raises bool
		hard   map[string]int64
		files  int64
		want   []Ulimit // a subset of the result
		count  int
	}{
		"an engine that may raise limits": {true, own, 1 << 20, []Ulimit{{"memlock", -1, -1}, {"nofile", 65536, 1048576}, {"nproc", -1, -1}, {"core", 0, -1}, {"stack", 8 << 20, -1}}, len(wantedUlimits)},
		"the kernel allows fewer files":   {true, nil, 65000, []Ulimit{{"nofile", 65000, 65000}}, len(wantedUlimits)},
		"one that may not":                {false, own, 1 << 20, []Ulimit{{"memlock", 8 << 20, 8 << 20}, {"nofile", 20000, 20000}, {"nproc", 96364, 96364}, {"core", 0, -1}}, len(own)},
		"one of which nothing is known":   {false, nil, 1 << 20, nil, 0},
	} {
		got := Ulimits(one.raises, one.hard, one.files)
		if len(got) != one.count {
			t.Errorf("%s: %v", name, got)
		}
		for _, want := range one.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %v lacks %v", name, got, want)
			}
		}
	}
	for _, one := range Ulimits(true, nil, 0) {
		if one.Name == "nice" || one.Name == "rtprio" {
			t.Errorf("%s is asked for", one.Name)
		}
	}
}
