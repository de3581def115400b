package dockerx

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/machine"
)

func TestDetailsFromInside(t *testing.T) {
	began := time.Date(2023, 11, 14, 22, 13, 20, 1e8, time.UTC)
	of := fleet.Details{Network: fleet.Network{MTUs: map[string]int{}}}
	addInside(&of, machine.Details{
		UIDs:     []machine.IDRange{{Inside: 0, Outside: 1001, Length: 1}, {Inside: 1, Outside: 100000, Length: 65536}},
		MTUs:     map[string]int{"tap0": 65520, "lo": 65536},
		Phases:   []machine.Moment{{Name: "start", At: began}, {Name: "dockerd", At: began.Add(750 * time.Millisecond)}},
		Restarts: []machine.Moment{{Name: "dockerd", At: began.Add(time.Minute)}},
		Daemon:   machine.Daemon{ServerVersion: "26.1", Driver: "overlay2", CgroupDriver: "none"},
	})
	got, err := json.Marshal([]any{of.UIDMap, of.Network.MTUs, of.Phases, of.DaemonRestarts, of.Engine})
	if err != nil {
		t.Fatal(err)
	}
	want := `[[{"inside":0,"outside":1001,"length":1},{"inside":1,"outside":100000,"length":65536}],{"lo":65536,"tap0":65520},` +
		`[{"name":"start","time":"2023-11-14T22:13:20.1Z","after_seconds":0},{"name":"dockerd","time":"2023-11-14T22:13:20.85Z","after_seconds":0.75}],` +
		`[{"name":"dockerd","time":"2023-11-14T22:14:20.1Z"}],{"outer":"","inner":"26.1","storage_driver":"overlay2","cgroup_driver":"none"}]`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A job can report anything, but must not fill any list beyond its limit.
func TestDetailsFromALiar(t *testing.T) {
	lies := machine.Details{MTUs: map[string]int{}, UIDs: make([]machine.IDRange, 5000), Phases: make([]machine.Moment, 5000), Restarts: make([]machine.Moment, 5000)}
	for i := range 5000 {
		lies.MTUs[fmt.Sprint("x", i)] = 1
	}
	of := fleet.Details{Network: fleet.Network{MTUs: map[string]int{}}}
	addInside(&of, lies)
	if len(of.UIDMap) > mostInside || len(of.Network.MTUs) > mostInside || len(of.Phases) > mostInside || len(of.DaemonRestarts) > mostInside {
		t.Errorf("%d %d %d %d, want at most %d", len(of.UIDMap), len(of.Network.MTUs), len(of.Phases), len(of.DaemonRestarts), mostInside)
	}
}
