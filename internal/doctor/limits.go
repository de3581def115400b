package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits are the limits that an engine can give the processes of its containers.
type Limits struct {
	Raises    bool             // the engine may exceed its own limits
	Hard      map[string]int64 // its own, by the names of docker run --ulimit; -1: unlimited
	OpenFiles int64            // the kernel's bound for all processes; 0: unknown
}

// LimitsOf returns the limits of the engine on a machine.
func LimitsOf(machine Machine) Limits {
	limits := Limits{Hard: hardLimits(machine.Limits)}
	if machine.Root == nil {
		return limits
	}
	facts := Facts{Machine: machine}
	bounding, ok := boundingSet(facts)
	limits.Raises = ok && bounding&(1<<capSysResource) != 0
	if text, ok := sysctl(facts, "fs.nr_open"); ok {
		limits.OpenFiles, _ = strconv.ParseInt(text, 10, 64) // the kernel writes a number
	}
	return limits
}

// Names in proc_pid_limits(5), and those of docker run --ulimit.
var limitNames = map[string]string{
	"Max cpu time": "cpu", "Max file size": "fsize", "Max data size": "data", "Max stack size": "stack", "Max core file size": "core",
	"Max resident set": "rss", "Max processes": "nproc", "Max open files": "nofile", "Max locked memory": "memlock",
	"Max file locks": "locks", "Max pending signals": "sigpending", "Max msgqueue size": "msgqueue",
}

// hardLimits reads a /proc/PID/limits, whose columns have fixed positions.
func hardLimits(text string) map[string]int64 {
	hard := map[string]int64{}
	for line := range strings.Lines(text) {
		const soft, units = 26, 68
		if len(line) < units {
			continue
		}
		name, known := limitNames[strings.TrimSpace(line[:soft])]
		values := strings.Fields(line[soft:units])
		if !known || len(values) < 2 {
			continue
		}
		if values[1] == "unlimited" {
			hard[name] = -1
		} else if number, err := strconv.ParseInt(values[1], 10, 64); err == nil {
			hard[name] = number
		}
	}
	return hard
}

// Limits that containers of jobs ask for by --ulimit or compose's ulimits: search engines,
// databases and vaults.
const (
	neededFiles = 1 << 20
	neededLocks = -1 // memlock, unlimited
)

func engineLimits(f Facts) Outcome {
	machine := f.Machine
	if machine.Limits == "" {
		machine.Limits = f.Container.Limits // the engine can give at least its defaults
	}
	limits := LimitsOf(machine)
	usual := hardLimits(f.Container.Limits)
	observed := ""
	if files, ok := usual["nofile"]; ok && files >= 0 && files < limits.most("nofile") {
		observed = fmt.Sprintf(`; nofile %d, the engine's default for other containers, is not the runners'`, files)
	}
	switch {
	case limits.Raises && limits.OpenFiles > 0 && limits.OpenFiles < neededFiles:
		return Outcome{Warn, fmt.Sprintf("fs.nr_open = %d, so jobs can't get more: --ulimit nofile=%d fails%s", limits.OpenFiles, neededFiles, observed), fix("allow more", setting{"fs.nr_open", neededFiles, true})}
	case limits.Raises:
		return pass("as high as the kernel allows%s", observed)
	case len(limits.Hard) == 0:
		return skip("the engine's own limits can't be read")
	}
	var lost []string
	if files := limits.most("nofile"); files >= 0 && files < neededFiles {
		lost = append(lost, fmt.Sprintf("nofile above %d", files))
	}
	if locked := limits.most("memlock"); locked != neededLocks {
		lost = append(lost, fmt.Sprintf("memlock above %d", locked))
	}
	if len(lost) > 0 {
		return Outcome{Warn, "jobs can't use --ulimit " + strings.Join(lost, ", nor ") + observed, advice("grant the engine the capability SYS_RESOURCE, or start it with higher limits (LimitNOFILE=%d and LimitMEMLOCK=infinity in its unit)", neededFiles)}
	}
	return pass("as high as jobs request%s", observed)
}

// most returns the highest limit that the engine can give.
func (l Limits) most(name string) int64 {
	own, known := l.Hard[name]
	if l.Raises || !known {
		own = -1
	}
	if name == "nofile" && l.OpenFiles > 0 && (own < 0 || own > l.OpenFiles) {
		return l.OpenFiles
	}
	return own
}

func kernelMaps(f Facts) Outcome {
	const needed = 262144 // Elasticsearch and its kin refuse to start below it
	text, ok := sysctl(f, "vm.max_map_count")
	value, err := strconv.Atoi(text)
	switch {
	case !ok || err != nil:
		return skip("vm.max_map_count can't be read")
	case value < needed:
		return Outcome{Warn, fmt.Sprintf("vm.max_map_count = %d, and no job can raise it", value), fix("raise it", setting{"vm.max_map_count", needed, true})}
	}
	return pass("vm.max_map_count = %d", value)
}
