//go:build linux

// Package status reports the state of a runner from inside, for ps and inspect. It relies on
// descriptors that were opened before any job, not on names that a job can change. It imports
// only the machine's settings, users and dockerd.
package status

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/regular"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// Machine are the parts of a machine that a report looks at.
type Machine struct {
	Root   string   // of its files
	Proc   *os.File // its /proc
	Data   *os.File // the folder of the daemon's data
	Net    string   // the folder of its network interfaces
	Socket string   // of dockerd
	// Patience is how long the daemon may take to answer; 0: 5 seconds.
	Patience time.Duration
}

// Services is the state of the machine's services.
type Services struct {
	Ready    bool
	Asleep   bool   // the daemon starts at its next use, which a question to it would be
	Version  string // of a daemon that is asleep
	Failure  string // why the daemon does not start
	Waiting  bool
	Agent    string
	Phases   []machine.Moment
	Restarts []machine.Moment
}

// patience is how long the daemon may take to answer.
const patience = 5 * time.Second

func (m Machine) patience() time.Duration { return cmp.Or(m.Patience, patience) }

// Report looks at the machine.
func (m Machine) Report(services Services, details bool) machine.Report {
	report := machine.Report{Restarts: len(services.Restarts), Waiting: number(services.Waiting), Starting: number(!services.Ready), Agent: services.Agent}
	processes := m.processes()
	report.Processes = jobs(processes)
	report.DiskFree = m.diskFree()
	if details {
		report.Details = &machine.Details{
			UIDs: machine.IDRanges(m.slurp("self/uid_map")), MTUs: m.mtus(),
			Phases: services.Phases, Restarts: services.Restarts,
		}
	}
	if !services.Ready { // later, the same daemon is not answering
		return report
	}
	if services.Asleep || services.Failure != "" {
		report.Asleep, report.Version = number(services.Asleep), services.Version
		report.Problem = cmp.Or(services.Failure, checkHome(user.Find(m.Root, user.Runner)))
		return report
	}
	answer := m.ask(details)
	report.Version, report.Containers = answer.version, answer.containers
	if details {
		report.Details.Daemon = answer.daemon
	}
	report.Problem = explain(answer.problem, state(processes))
	return report
}

func number(value bool) int {
	if value {
		return 1
	}
	return 0
}

// process is an entry of /proc.
type process struct {
	name  string
	state string // a letter of proc(5)
	uid   uint32
}

// slurp reads the beginning of a file below /proc.
func (m Machine) slurp(name string) string {
	fd, err := unix.Openat(int(m.Proc.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, 4096)
	n, _ := unix.Read(fd, text)
	return string(text[:max(n, 0)])
}

// processes lists the machine's processes.
func (m Machine) processes() (all []process) {
	fd, err := unix.Openat(int(m.Proc.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	folder := os.NewFile(uintptr(fd), "proc")
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		var stat unix.Stat_t
		if unix.Fstatat(int(m.Proc.Fd()), name, &stat, 0) != nil {
			continue // it has ended
		}
		if one, ok := parseStat(m.slurp(name + "/stat")); ok {
			one.uid = stat.Uid
			all = append(all, one)
		}
	}
	return all
}

// parseStat reads the name and the state from /proc/PID/stat. The name may hold anything.
func parseStat(text string) (process, bool) {
	begin, end := strings.Index(text, "("), strings.LastIndex(text, ") ")
	if begin < 0 || end < begin || end+3 > len(text) {
		return process{}, false
	}
	return process{name: text[begin+1 : end], state: text[end+2 : end+3]}, true
}

// jobs counts the processes of jobs.
func jobs(all []process) (count int) {
	for _, one := range all {
		if one.uid == user.Runner && one.name != "Runner.Listener" && one.state != "Z" {
			count++
		}
	}
	return count
}

// state returns the state of the machine's dockerd, or "" if there is none. A job may run
// another one as runner.
func state(all []process) string {
	for _, one := range all {
		if one.name == "dockerd" && one.uid != user.Runner {
			return one.state
		}
	}
	return ""
}

// explain makes a problem more precise by the state of dockerd.
func explain(problem, dockerd string) string {
	switch {
	case problem == notRunning && dockerd == "":
		return "dockerd is started again"
	case problem == silent && dockerd == "T":
		return "dockerd is stopped by a signal"
	}
	return problem
}

func (m Machine) diskFree() int64 {
	var stat unix.Statfs_t
	if unix.Fstatfs(int(m.Data.Fd()), &stat) != nil {
		return 0
	}
	return int64(stat.Bavail) * stat.Bsize
}

func (m Machine) mtus() map[string]int {
	mtus := map[string]int{}
	interfaces, _ := os.ReadDir(m.Net)
	for _, one := range interfaces {
		text, err := regular.ReadFile(m.Net + "/" + one.Name() + "/mtu")
		if err != nil {
			continue
		}
		if mtu, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			mtus[one.Name()] = mtu
		}
	}
	return mtus
}
