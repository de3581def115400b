package fleet

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestMake(t *testing.T) {
	spec := Spec{Fleet: "ci", Image: "runner:1", ImageID: "sha256:1", CPUs: 2}
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	good := func(name string, minute int, ready bool) Runner {
		return Runner{Name: name, State: Running, Ready: ready, ImageID: "sha256:1", SpecHash: spec.Hash(), Created: at(minute)}
	}
	old := good("old", 0, true)
	old.ImageID = "sha256:0"
	changed := good("changed", 0, true)
	changed.SpecHash = "other"
	paused := good("paused", 0, false)
	paused.State = Paused

	looping := good("looping", 0, false)
	looping.Revivals = 2
	busy := good("busy", 9, true)
	busy.Busy = true

	tests := []struct {
		name     string
		observed []Runner
		count    int
		want     string
	}{
		{"from nothing", nil, 2, "create  new-1  (1 of 2)\ncreate  new-2  (2 of 2)\n"},
		{"as wanted", []Runner{good("a", 1, true)}, 1, "keep    a  (as wanted)\n"},
		{"surplus: not ready goes first", []Runner{good("a", 1, false), good("b", 2, true)}, 1, "keep    b  (as wanted)\nremove  a  (surplus, 1 wanted)\n"},
		{"surplus: the youngest goes", []Runner{good("b", 2, true), good("a", 1, true)}, 1, "keep    a  (as wanted)\nremove  b  (surplus, 1 wanted)\n"},
		{"surplus: idle goes before busy", []Runner{good("a", 1, true), busy}, 1, "keep    busy  (as wanted)\nremove  a  (surplus, 1 wanted)\n"},
		{"new image", []Runner{old}, 1, "remove  old  (its image is not runner:1)\ncreate  new-1  (1 of 1)\n"},
		{"new spec", []Runner{changed}, 1, "remove  changed  (its spec changed)\ncreate  new-1  (1 of 1)\n"},
		{"crash loop", []Runner{looping}, 1, "remove  looping  (it ends again and again)\ncreate  new-1  (1 of 1)\n"},
		{"paused", []Runner{paused, good("a", 1, true)}, 2, "remove  paused  (it is paused)\nkeep    a  (as wanted)\ncreate  new-1  (2 of 2)\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			made := 0
			plan := Make(test.observed, test.count, spec, func() string {
				made++
				return "new-" + string(rune('0'+made))
			})
			var text strings.Builder
			plan.Write(&text)
			if text.String() != test.want {
				t.Errorf("got\n%swant\n%s", text.String(), test.want)
			}
		})
	}
}

func TestHashLeavesAddressesOut(t *testing.T) {
	a := Spec{Fleet: "ci", Bip: "10.213.0.1/17", Pool: "x"}
	b := Spec{Fleet: "ci"}
	if a.Hash() != b.Hash() {
		t.Error("addresses change the hash: a new network on the host would replace the fleet")
	}
	b.Memory = 1
	if a.Hash() == b.Hash() {
		t.Error("memory does not change the hash")
	}
}

func TestPools(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	tests := []struct {
		outer     []netip.Prefix
		bip, pool string
	}{
		{prefixes("172.17.0.0/16"), "10.213.0.1/17", "base=10.213.128.0/17,size=24"},
		{prefixes("10.213.7.0/24"), "10.214.0.1/17", "base=10.214.128.0/17,size=24"},
		{prefixes("10.208.0.0/12"), "10.224.0.1/17", "base=10.224.128.0/17,size=24"},
		{prefixes("10.128.0.0/9"), "10.1.0.1/17", "base=10.1.128.0/17,size=24"}, // 10.0 holds slirp's own
	}
	for _, test := range tests {
		bip, pool, err := Pools(test.outer)
		if err != nil || bip != test.bip || pool != test.pool {
			t.Errorf("Pools(%v) = %s %s %v", test.outer, bip, pool, err)
		}
	}
	if _, _, err := Pools(prefixes("10.0.0.0/8")); err == nil {
		t.Error("no error although every block is taken")
	}
}
