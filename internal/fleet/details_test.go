package fleet

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestInside(t *testing.T) {
	of := Details{Network: Network{MTUs: map[string]int{}}}
	of.Inside("uid          0       1001          1\nuid          1     100000      65536\n" +
		"mtu tap0 65520\nmtu lo 65536\nmtu bonding_masters cat: not a folder\n" +
		"phase start 1700000000.100000000\nphase dockerd 1700000000.850000000\nphase broken x\n" +
		"restart dockerd 1700000100\ninfo {\"ServerVersion\":\"26.1\",\"Driver\":\"overlay2\",\"CgroupDriver\":\"none\"}\nnonsense\n\n")
	got, err := json.Marshal([]any{of.UIDMap, of.Network.MTUs, of.Phases, of.DaemonRestarts, of.Engine})
	if err != nil {
		t.Fatal(err)
	}
	want := `[[{"inside":0,"outside":1001,"length":1},{"inside":1,"outside":100000,"length":65536}],{"lo":65536,"tap0":65520},` +
		`[{"name":"start","time":"2023-11-14T22:13:20.1Z","after_seconds":0},{"name":"dockerd","time":"2023-11-14T22:13:20.85Z","after_seconds":0.75}],` +
		`[{"name":"dockerd","time":"2023-11-14T22:15:00Z"}],{"outer":"","inner":"26.1","storage_driver":"overlay2","cgroup_driver":"none"}]`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A job can print anything, but must not fill any list beyond its limit.
func TestInsideOfALiar(t *testing.T) {
	of := Details{Network: Network{MTUs: map[string]int{}}}
	var lies strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lies, "uid 0 0 1\nmtu x%d 1\nphase p 1\nrestart r 1\n", i)
	}
	of.Inside(lies.String())
	if len(of.UIDMap) > most || len(of.Network.MTUs) > most || len(of.Phases) > most || len(of.DaemonRestarts) > most {
		t.Errorf("%d %d %d %d", len(of.UIDMap), len(of.Network.MTUs), len(of.Phases), len(of.DaemonRestarts))
	}
}
