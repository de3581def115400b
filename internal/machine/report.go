package machine

import (
	"fmt"
	"strings"
	"time"
)

// Report is the state of a runner, as its runtime prints it. A job is root of the machine and can
// forge every value.
type Report struct {
	Version    string `json:"version"`    // of the daemon; "": it has never run
	Containers int    `json:"containers"` // running ones
	Processes  int    `json:"processes"`  // of the user runner, without the agent
	Restarts   int    `json:"restarts"`   // of the daemons
	DiskFree   int64  `json:"disk_free"`  // bytes free for the daemon's data
	Waiting    int    `json:"waiting"`    // 1: the agent waits for its credential
	Starting   int    `json:"starting"`   // 1: jobs may not begin yet
	Asleep     int    `json:"asleep"`     // 1: the daemon starts at its next use
	Problem    string `json:"problem"`    // why jobs can't use the daemon; "" if they can
	Agent      string `json:"agent,omitempty"`

	Details *Details `json:"details,omitempty"` // if they were asked for
}

// Details are the parts of a Report that only inspect shows.
type Details struct {
	UIDs     []IDRange      `json:"uids"`
	MTUs     map[string]int `json:"mtus"` // by network interface
	Phases   []Moment       `json:"phases"`
	Restarts []Moment       `json:"restarts"`
	Daemon   Daemon         `json:"daemon"`
}

// IDRange maps Length uids from Inside to Outside.
type IDRange struct {
	Inside  int64 `json:"inside"`
	Outside int64 `json:"outside"`
	Length  int64 `json:"length"`
}

// IDRanges reads /proc/PID/uid_map: lines of INSIDE OUTSIDE LENGTH.
func IDRanges(text string) (ranges []IDRange) {
	for line := range strings.Lines(text) {
		var one IDRange
		if _, err := fmt.Sscan(line, &one.Inside, &one.Outside, &one.Length); err == nil {
			ranges = append(ranges, one)
		}
	}
	return ranges
}

// Moment is a named point in time.
type Moment struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
}

// Daemon is a description by dockerd.
type Daemon struct {
	ServerVersion string
	Driver        string // of storage
	CgroupDriver  string
}
