package counts

import (
	"fmt"
	"net/http"
	"testing"
)

func TestTake(t *testing.T) {
	var all Counts
	hit := func(c *Count) { c.Hits++ }
	all.Add("ci-7k2p", hit)
	all.Add("ci-7k2p", hit)
	all.Add("ci-wx4d", hit)
	all.Add("", hit)
	if got := all.Runners(); len(got) != 2 || got["ci-7k2p"].Hits != 2 || got["ci-wx4d"].Hits != 1 {
		t.Errorf("got %+v, want the hits of two runners", got)
	}
	if got := all.Take("ci-7k2p"); got.Hits != 2 {
		t.Errorf("got %d, want the 2 hits of the runner", got.Hits)
	}
	if got := all.Take("ci-7k2p"); got.Hits != 0 {
		t.Errorf("got %d after they were taken, want 0", got.Hits)
	}
	if got := all.Now(); got.Hits != 4 {
		t.Errorf("got %d of all, want 4", got.Hits)
	}
}

func TestRunnersAreBounded(t *testing.T) {
	var all Counts
	for i := range 3 * mostRunners {
		all.Add(fmt.Sprint(i), func(c *Count) { c.Hits++ })
	}
	if len(all.runners) > mostRunners {
		t.Errorf("%d runners, want at most %d", len(all.runners), mostRunners)
	}
}

func TestRunner(t *testing.T) {
	for address, want := range map[string]string{"@ci-7k2p/12": "ci-7k2p", "@": "", "": "", "127.0.0.1:80": ""} {
		if got := Runner(&http.Request{RemoteAddr: address}); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}
