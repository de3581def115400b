package dockerx

import (
	"fmt"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

func TestChooseASlot(t *testing.T) {
	at := func(name string, minute int) slot {
		return slot{&fleet.Record{Name: name, Finished: time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)}, true}
	}
	for name, test := range map[string]struct {
		slots []slot
		want  int
	}{
		"the first free one":         {[]slot{at("a", 1), {}, {}}, 1},
		"that of the same name":      {[]slot{{}, at("a", 1), at("new", 2)}, 2},
		"that of the oldest":         {[]slot{at("a", 3), at("b", 1), at("c", 2)}, 1},
		"a broken one before a free": {[]slot{{nil, true}, {}}, 0},
	} {
		if got := choose(test.slots, "new"); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestEndOfALog(t *testing.T) {
	log := &end{limit: 20}
	for i := range 50 {
		fmt.Fprintf(log, "line %d\n", i)
	}
	if got := string(log.lines()); got != "line 48\nline 49\n" {
		t.Errorf("got %q, want %q", got, "line 48\nline 49\n")
	}
	short := &end{limit: 20}
	fmt.Fprint(short, "all of it\n")
	if got := string(short.lines()); got != "all of it\n" {
		t.Errorf("got %q, want %q", got, "all of it\n")
	}
}
