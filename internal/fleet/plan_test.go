package fleet

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// once decides for a single run that replaces runners of another spec at once, as up without a
// supervisor does, with fresh facts about every runner.
func once(t *testing.T, observed []Runner, orphans []Registration, desired Desired) string {
	t.Helper()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	made := 0
	view := Observation{Now: now, Desired: desired, Orphans: orphans, NewName: func() string {
		made++
		return "new-" + string(rune('0'+made))
	}}
	view.Desired.Policy.Once, view.Desired.Policy.AtOnce, view.Desired.Ready = true, true, time.Minute
	for _, runner := range observed {
		s := Observed{Runner: runner, Since: runner.Created, Looked: now}
		if runner.Problem != "" {
			s.Silent, s.Inside = now.Add(-SettleLimit), now
		}
		if runner.Problem != "" || runner.State == Running && runner.Ready && (runner.Listing == nil || runner.Listing.State == Online) {
			s.Online = now
		}
		view.Runners = append(view.Runners, s)
	}
	var text strings.Builder
	Reconcile(view).Write(&text)
	return text.String()
}

func TestReconcileOnce(t *testing.T) {
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

	// Runners with an agent have another spec.
	jit := spec
	jit.Agent = Agent{Mode: JIT, URL: "https://github.com/acme", Ephemeral: true}
	agent := func(name string, minute int, listing Listing) Runner {
		runner := good(name, minute, true)
		runner.SpecHash, runner.Agent, runner.Listing, runner.Busy = jit.Hash(), jit.Agent, &listing, listing.Busy
		return runner
	}
	online, atWork := Listing{State: Online, ID: 1}, Listing{State: Online, Busy: true, ID: 2}
	through := agent("through", 0, Listing{State: NotListed})
	through.State, through.Ready, through.ImageID = Exited, false, "sha256:0"
	crashed := through
	crashed.Name, crashed.ExitCode = "crashed", 7
	lost := through
	lost.Listing = &atWork // its container is gone, but GitHub does not know yet
	oldAtWork := agent("old", 0, atWork)
	oldAtWork.ImageID = "sha256:0"
	static := agent("static", 0, Listing{State: NotListed})
	static.Agent = Agent{Mode: Token}
	registering := static
	registering.Name, registering.Ready = "registering", false
	orphan := Registration{ID: 7, Name: "ci-abcd"}
	connected := Registration{ID: 8, Name: "ci-efgh", Online: true}
	lostJob := Registration{ID: 9, Name: "ci-jkmn", Busy: true}

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
		{"crash loop", []Runner{looping}, 1, "remove  looping  (it keeps exiting)\ncreate  new-1  (1 of 1)\n"},
		{"paused", []Runner{paused, good("a", 1, true)}, 2, "keep    a  (as wanted)\nremove  paused  (it is paused)\ncreate  new-1  (2 of 2)\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := once(t, test.observed, nil, Desired{Count: test.count, Spec: spec}); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}

	withAgents := []struct {
		name     string
		observed []Runner
		orphans  []Registration
		count    int
		want     string
	}{
		{"as wanted", []Runner{agent("a", 1, online)}, nil, 1, "keep    a  (as wanted)\n"},
		{"the gaps of ended ones are filled", []Runner{through, crashed, agent("a", 1, atWork)}, nil, 3,
			"keep    a  (as wanted)\ncreate  new-1  (2 of 3)\ncreate  new-2  (3 of 3)\nremove  crashed  (it ended: GitHub no longer accepts this runner version: rebuild the image)\nremove  through  (it ended: done)\n"},
		{"offline may be for a moment", []Runner{agent("a", 1, Listing{State: Offline, ID: 3})}, nil, 1, "adopt   a  (found on the engine)\n"},
		{"not listed gets no jobs", []Runner{agent("a", 1, Listing{State: NotListed})}, nil, 1, "remove  a  (GitHub does not list it)\ncreate  new-1  (1 of 1)\n"},
		{"one that was removed by hand", []Runner{static}, nil, 1, "remove  static  (GitHub does not list it)\ncreate  new-1  (1 of 1)\n"},
		{"a job is not cut off for a new image", []Runner{oldAtWork}, nil, 1, "keep    old  (its image is not runner:1, but it has a job)\n"},
		{"nor for the count", []Runner{agent("a", 1, atWork), agent("b", 2, atWork), agent("c", 0, online)}, nil, 1,
			"keep    a  (as wanted)\nkeep    b  (surplus, 1 wanted, but it has a job)\nremove  c  (surplus, 1 wanted)\n"},
		{"old ones at work count", []Runner{oldAtWork, agent("a", 1, online)}, nil, 1,
			"keep    old  (its image is not runner:1, but it has a job)\nremove  a  (surplus, 1 wanted)\n"},
		{"a job whose container ended is lost", []Runner{lost}, nil, 1, "create  new-1  (1 of 1)\nremove  through  (it ended: done)\n"},
		{"leftovers", nil, []Registration{orphan, connected, lostJob}, 1, "create  new-1  (1 of 1)\nforget  ci-abcd  (offline at GitHub, and no runner here has it)\n"},
	}
	for _, test := range withAgents {
		t.Run("agents: "+test.name, func(t *testing.T) {
			if got := once(t, test.observed, test.orphans, Desired{Count: test.count, Spec: jit}); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}

	for _, test := range []struct {
		runner Runner
		want   bool
	}{{static, true}, {registering, false}, {agent("a", 0, Listing{State: NotListed}), true}, {agent("a", 0, online), false}, {good("plain", 0, true), false}} {
		if got := test.runner.unlisted(); got != test.want {
			t.Errorf("unlisted %s: %v", test.runner.Name, got)
		}
	}
}

func TestReconcileDown(t *testing.T) {
	got := once(t, []Runner{{Name: "ci-a"}}, []Registration{{Name: "ci-b"}, {Name: "ci-c", Online: true}}, Desired{Policy: Policy{Down: true}})
	if want := "remove  ci-a  (down)\nforget  ci-b  (offline at GitHub, and no runner here has it)\nleave   ci-c  (GitHub shows it as connected or busy, but no runner here has it)\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestJoin(t *testing.T) {
	const url = "https://github.com/acme"
	of := Agent{Mode: JIT, URL: url}
	runners := []Runner{
		{Name: "ci-aaaa", Fleet: "ci", State: Running, Agent: of, Busy: true}, // busy because its agent is a process too
		{Name: "ci-bbbb", Fleet: "ci", State: Running, Agent: of},
		{Name: "ci-cccc", Fleet: "ci", State: Running, Agent: of},
		{Name: "ci-dddd", Fleet: "ci"},
		{Name: "ci-eeee", Fleet: "ci", Agent: Agent{Mode: JIT, URL: "https://github.com/other"}},
		{Name: "x-aaaa", Fleet: "x", Agent: of},
	}
	orphans := Join(runners, "ci", url, []Registration{
		{ID: 1, Name: "ci-aaaa", Online: true}, {ID: 2, Name: "ci-bbbb", Online: true, Busy: true},
		{ID: 4, Name: "ci-zzzz"}, {ID: 5, Name: "ci-eeee"}, {ID: 6, Name: "ci-by-hand"}, {ID: 7, Name: "ci-zzz"},
	})
	var names []string
	for _, one := range orphans {
		names = append(names, one.Name)
	}
	if got := strings.Join(names, " "); got != "ci-zzzz" {
		t.Errorf("orphans: %s", got)
	}
	want := []*Listing{{State: Online, ID: 1}, {State: Online, Busy: true, ID: 2}, {State: NotListed}, nil, nil, nil}
	for i, runner := range runners {
		if (runner.Listing == nil) != (want[i] == nil) || want[i] != nil && *runner.Listing != *want[i] || want[i] != nil && runner.Busy != want[i].Busy {
			t.Errorf("%s: %+v", runner.Name, runner.Listing)
		}
	}
}

func TestMarker(t *testing.T) {
	if Marker("ci", "a") == Marker("ci", "b") || Marker("ci", "a") == Marker("x", "a") || !strings.HasPrefix(Marker("ci", "a"), "runnerctl-ci-") {
		t.Error(Marker("ci", "a"), Marker("ci", "b"))
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
		routes    []netip.Prefix
		bip, pool string
	}{
		{prefixes("172.17.0.0/16"), nil, "10.213.0.1/17", "base=10.213.128.0/17,size=24"},
		{prefixes("10.213.7.0/24"), nil, "10.214.0.1/17", "base=10.214.128.0/17,size=24"},
		{prefixes("10.208.0.0/12"), nil, "10.224.0.1/17", "base=10.224.128.0/17,size=24"},
		{prefixes("10.128.0.0/9"), nil, "10.0.0.1/17", "base=10.0.128.0/17,size=24"},
		{prefixes("172.17.0.0/16"), prefixes("10.213.4.0/24"), "10.214.0.1/17", "base=10.214.128.0/17,size=24"},
		{prefixes("10.213.7.0/24"), prefixes("10.0.0.0/8"), "10.214.0.1/17", "base=10.214.128.0/17,size=24"}, // a VPN
	}
	for _, test := range tests {
		bip, pool, err := Pools(test.outer, test.routes)
		if err != nil || bip != test.bip || pool != test.pool {
			t.Errorf("Pools(%v) = %s %s %v", test.outer, bip, pool, err)
		}
	}
	if _, _, err := Pools(prefixes("10.0.0.0/8"), nil); err == nil {
		t.Error("no error although every block is taken")
	}
}

// A runner's label holds the hash of its spec. If an unchanged spec got another hash, the next
// up would replace every runner of every fleet. New fields of Spec must be omitempty.
func TestHashOfAnUnchangedSpec(t *testing.T) {
	if got, want := (Spec{}).Hash(), "4750d7e1f5de"; got != want {
		t.Errorf("Spec{}.Hash() = %s, want %s: is a new field of Spec not omitempty?", got, want)
	}
}
