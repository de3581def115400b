package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat.
const tick = 10 * time.Millisecond

// profiled are the rows of the profile of a start: programs of a runner, in the order of their
// starts. Those that end during a start count as the child processes of their parents.
var profiled = []struct{ row, program string }{
	{"PID 1 of the container", "machine"},
	{"the network", "slirp4netns"},
	{"the machine's init", "init"},
	{"child processes of the init", "init" + childProcesses},
	{"containerd", "containerd"},
	{"dockerd", "dockerd"},
	{"child processes of dockerd: iptables, runc and others", "dockerd" + childProcesses},
}

const (
	childProcesses = "/"
	// others is the row of the remaining time of the container.
	others = "all others, among them the engine's runc and the bench's own check"
)

// profile adds a sample of the processor time of a start for each row.
func (b *bench) profile(ctx context.Context, one box, all time.Duration) error {
	one.enter = nil // the container sees the processes of the machine in it
	text, err := b.sh(ctx, &one, nil, "cat /proc/[0-9]*/stat 2>/dev/null || true")
	if err != nil {
		return err
	}
	used, err := processorTimes(text)
	if err != nil {
		return err
	}
	for _, program := range profiled {
		b.results.Add(start1CPU, program.row, "s", used[program.program].Seconds())
		all -= used[program.program]
	}
	b.results.Add(start1CPU, others, "s", max(0, all).Seconds())
	return nil
}

// processorTimes reads lines of /proc/PID/stat. The child processes of a program that have
// ended count under the program's name and a slash.
func processorTimes(text string) (map[string]time.Duration, error) {
	used := map[string]time.Duration{}
	for line := range strings.Lines(text) {
		_, rest, found := strings.Cut(line, " (")
		end := strings.LastIndex(rest, ") ")
		if !found || end < 0 {
			return nil, fmt.Errorf("/proc/PID/stat: %q", line)
		}
		program, fields := rest[:end], strings.Fields(rest[end+2:]) // from field 3 of proc(5), the state
		if len(fields) < 15 {
			return nil, fmt.Errorf("/proc/PID/stat: %q", line)
		}
		for i, name := range []string{program, program, program + childProcesses, program + childProcesses} {
			ticks, err := strconv.ParseInt(fields[11+i], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("/proc/PID/stat: %w", err)
			}
			used[name] += time.Duration(ticks) * tick
		}
	}
	return used, nil
}

// share is a row of the report's profile.
type share struct {
	Row     string
	Seconds float64
	Share   float64 // of the sum of all rows
}

// profile returns the medians of all rows; none if a start was not measured.
func (r *Results) profile() (rows []share) {
	sum := 0.0
	var names []string
	for _, program := range profiled {
		names = append(names, program.row)
	}
	for _, name := range append(names, others) {
		series, found := r.find(start1CPU, name)
		if !found {
			return nil
		}
		rows, sum = append(rows, share{Row: name, Seconds: series.Median}), sum+series.Median
	}
	for i := range rows {
		rows[i].Share = rows[i].Seconds / max(sum, 0.001)
	}
	return rows
}
