//go:build long

package commands

import "testing"

func TestTwentyRunners(t *testing.T) {
	api := realEngine(t)
	name := newFleet(t, api)
	must(t, up(name, "--count", "20")...)
	if runners := list(t, name); len(runners) != 20 {
		t.Errorf("%d runners", len(runners))
	}
	must(t, "down", "--fleet", name)
	if left := leftovers(t, api, name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
