//go:build linux

package inner

import "testing"

func TestPingGroups(t *testing.T) {
	for gidMap, want := range map[string]string{
		"         0       1001          1\n         1     100000      65536\n": "0 65536",
		"         0       1001          1\n         1       1002      64534\n": "0 64534",
		"         0          0 4294967295\n":                                   "0 4294967294",
	} {
		if got := pingGroups(gidMap); got != want {
			t.Errorf("pingGroups(%q) = %q, want %q", gidMap, got, want)
		}
	}
}
