package fleet

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Details is everything known about one runner. The JSON form is the public shape of `inspect
// -o json`.
type Details struct {
	Runner
	Pinned    string     `json:"image_id"` // the id of Image when the runner was made
	Spec      string     `json:"spec_hash"`
	Volume    string     `json:"volume"`
	Started   *time.Time `json:"started"`  // nil: never
	Finished  *time.Time `json:"finished"` // the last exit; nil: none
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

// Limits are the limits of the whole runner; 0 means none.
type Limits struct {
	CPUs   float64 `json:"cpus"`
	Memory int64   `json:"memory"` // bytes
	Pids   int64   `json:"pids"`
	Shm    int64   `json:"shm"` // bytes
}

// Engines are the host's engine and the runner's own.
type Engines struct {
	Outer         string `json:"outer"`
	Inner         string `json:"inner"`
	StorageDriver string `json:"storage_driver"` // of the inner one
	CgroupDriver  string `json:"cgroup_driver"`  // of the inner one
}

// Network is the runner's outbound network, and the addresses that its daemon assigns to
// containers.
type Network struct {
	Driver string         `json:"driver"`
	MTU    int            `json:"mtu"`  // configured
	MTUs   map[string]int `json:"mtus"` // actual, by interface
	Bip    string         `json:"bip"`  // of the inner docker0
	Pool   string         `json:"address_pool"`
}

// IDRange maps Length uids from Inside to Outside.
type IDRange struct {
	Inside  int64 `json:"inside"`
	Outside int64 `json:"outside"`
	Length  int64 `json:"length"`
}

// Moment is the time of a named event.
type Moment struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"`
}

// Phase is one phase of a start. Time is when it ended.
type Phase struct {
	Moment
	After float64 `json:"after_seconds"` // since the first phase ended
}

// Inside parses a report from inside the runner into d. Each line starts with a keyword. A job
// can forge the report, so Inside accepts only numbers and short words.
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

// most is the maximum length of each list that a runner can fill.
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
