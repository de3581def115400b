package dockerx

import "testing"

func TestRuns(t *testing.T) {
	for machine, images := range map[string]map[string]bool{
		"amd64":   {"amd64": true, "": true, "386": true, "arm64": false, "arm": false},
		"arm64":   {"arm64": true, "arm": true, "amd64": false, "386": false},
		"riscv64": {"riscv64": true, "amd64": false},
	} {
		for image, want := range images {
			if got := runs(machine, image); got != want {
				t.Errorf("%s on %s: %t, want %t", image, machine, got, want)
			}
		}
	}
}
