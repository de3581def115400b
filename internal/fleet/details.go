package fleet

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Details is all that is known of one runner. The JSON form is the public shape
// of `inspect -o json`.
type Details struct {
	Runner
	Pinned    string     `json:"image_id"` // what Image meant when the runner was made
	Spec      string     `json:"spec_hash"`
	Volume    string     `json:"volume"`
	Started   *time.Time `json:"started"`  // nil: never
	Finished  *time.Time `json:"finished"` // of the last end; nil: none
	ExitCode  int        `json:"exit_code"`
	OOMKilled bool       `json:"oom_killed"`

	Limits  Limits  `json:"limits"`
	Engine  Engines `json:"engine"`
	Network Network `json:"network"`

	InnerPrivileged bool   `json:"inner_privileged"`
	AppArmor        string `json:"apparmor"`

	UIDMap         []IDRange `json:"uid_map"`
	Phases         []Phase   `json:"phases"`
	DaemonRestarts []Moment  `json:"daemon_restarts"`
}

// Limits of the whole runner; 0 is none.
type Limits struct {
	CPUs   float64 `json:"cpus"`
	Memory int64   `json:"memory"` // bytes
	Pids   int64   `json:"pids"`
	Shm    int64   `json:"shm"` // bytes
}

// Engines are the host's and the runner's own.
type Engines struct {
	Outer         string `json:"outer"`
	Inner         string `json:"inner"`
	StorageDriver string `json:"storage_driver"` // of the inner one
	CgroupDriver  string `json:"cgroup_driver"`  // of the inner one
}

// Network is the runner's way out and what its daemon gives to containers.
type Network struct {
	Driver string         `json:"driver"`
	MTU    int            `json:"mtu"`  // as wanted
	MTUs   map[string]int `json:"mtus"` // as they are, by interface
	Bip    string         `json:"bip"`  // of the inner docker0
	Pool   string         `json:"address_pool"`
}

// IDRange maps Length uids from Inside to Outside.
type IDRange struct {
	Inside  int64 `json:"inside"`
	Outside int64 `json:"outside"`
	Length  int64 `json:"length"`
}

// Moment is when something happened.
type Moment struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"`
}

// Phase of a start, by when it ended.
type Phase struct {
	Moment
	After float64 `json:"after_seconds"` // since the first one
}

// Inside reads what a runner's machine tells of itself into d: lines of a word
// that says what follows. A job can write them as it likes, so nothing but
// numbers and short words is taken from it.
func (d *Details) Inside(text string) {
	for line := range strings.Lines(text) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "uid":
			var one IDRange
			if _, err := fmt.Sscan(rest, &one.Inside, &one.Outside, &one.Length); err == nil && len(d.UIDMap) < most {
				d.UIDMap = append(d.UIDMap, one)
			}
		case "mtu":
			name, number, _ := strings.Cut(rest, " ")
			if mtu, err := strconv.Atoi(number); err == nil && len(d.Network.MTUs) < most {
				d.Network.MTUs[name] = mtu
			}
		case "phase":
			if moment, ok := parseMoment(rest); ok && len(d.Phases) < most {
				phase := Phase{Moment: moment}
				if len(d.Phases) > 0 {
					phase.After = moment.Time.Sub(d.Phases[0].Time).Seconds()
				}
				d.Phases = append(d.Phases, phase)
			}
		case "restart":
			if moment, ok := parseMoment(rest); ok && len(d.DaemonRestarts) < most {
				d.DaemonRestarts = append(d.DaemonRestarts, moment)
			}
		case "info":
			var info struct{ ServerVersion, Driver, CgroupDriver string }
			if json.Unmarshal([]byte(rest), &info) == nil {
				d.Engine.Inner, d.Engine.StorageDriver, d.Engine.CgroupDriver = info.ServerVersion, info.Driver, info.CgroupDriver
			}
		}
	}
}

// most of each list that a runner may fill.
const most = 100

func parseMoment(text string) (Moment, bool) {
	name, at, _ := strings.Cut(text, " ")
	whole, fraction, _ := strings.Cut(at, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return Moment{}, false
	}
	nanos, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	return Moment{Name: name, Time: time.Unix(seconds, nanos).UTC()}, err == nil
}
