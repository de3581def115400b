//go:build linux

package cleaner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listener is the name of the agent's listener.
const listener = "Runner.Listener"

// proc is a process of the machine.
type proc struct {
	pid, parent string
	name        string
}

// idle reports whether no job runs: the agent's listener then has no child.
func idle(all []proc) bool {
	return !slices.ContainsFunc(all, func(child proc) bool {
		return slices.ContainsFunc(all, func(parent proc) bool { return parent.name == listener && parent.pid == child.parent })
	})
}

// childOfInit returns the PID of a child of the machine's init.
func childOfInit(all []proc, name string) (pid int, err error) {
	at := slices.IndexFunc(all, func(one proc) bool { return one.parent == "1" && one.name == name })
	if at < 0 {
		return 0, fmt.Errorf("%s does not run", name)
	}
	return strconv.Atoi(all[at].pid)
}

// processes lists the processes of a /proc.
func processes(folder string) (all []proc) {
	files, _ := filepath.Glob(folder + "/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if one, ok := parseStat(string(text)); ok {
			all = append(all, one)
		}
	}
	return all
}

// parseStat reads /proc/PID/stat. The name may hold anything.
func parseStat(text string) (proc, bool) {
	pid, rest, _ := strings.Cut(text, " (")
	end := strings.LastIndex(rest, ") ")
	if end < 0 {
		return proc{}, false
	}
	fields := strings.Fields(rest[end+2:])
	if len(fields) < 2 {
		return proc{}, false
	}
	return proc{pid: pid, parent: fields[1], name: rest[:end]}, true
}
