package fleet

import (
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
