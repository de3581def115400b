package doctor

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var hostChecks = []Check{
	{ID: "host.os", Title: "operating system", Group: "Host", Severity: Mandatory, Run: hostOS,
		Why: "runners are Linux containers with their own user namespaces"},
	{ID: "host.machine", Title: "kind of machine", Group: "Host", Severity: Mandatory, Needs: NeedsEngine, Run: hostMachine,
		Why: "Docker Desktop and WSL change and stop their hidden VMs, and an update reverts fixes in them"},
	{ID: "host.memory", Title: "memory for the runners", Group: "Host", Severity: Advice, Needs: NeedsEngine, Run: hostMemory,
		Why: "limits are upper bounds: jobs that use all of them at the same time need that much memory"},
	{ID: "host.cpus", Title: "cores for the runners", Group: "Host", Severity: Advice, Needs: NeedsEngine, Run: hostCPUs,
		Why: "runners share the cores; with too many runners per core, waiting jobs look like hanging jobs"},
	{ID: "host.clock", Title: "clock", Group: "Host", Severity: Advice, Needs: NeedsEngine, Run: hostClock,
		Why: "GitHub refuses tokens of a machine whose clock is wrong, and package indexes look expired or not yet valid"},
}

func hostOS(f Facts) Outcome {
	var refusal *LocalRefusal
	if errors.As(RefuseLocal(f.Client.OS, f.Endpoint), &refusal) {
		return Outcome{Fail, refusal.Error(), advice("%s", refusal.Hint())}
	}
	if f.Engine.System == "" {
		return pass("%s", f.Client.OS)
	}
	return pass("%s", f.Engine.System)
}

func hostMachine(f Facts) Outcome {
	away := advice("use a Linux machine or VM of its own: export DOCKER_HOST=ssh://user@vm, or docker context use NAME")
	switch {
	// Both identify themselves: Docker Desktop by the name of the system, and its kernel and
	// WSL's by the maker in the version.
	case f.Engine.System == "Docker Desktop":
		return Outcome{Fail, "Docker Desktop's VM, kernel " + f.Engine.Kernel, away}
	case strings.Contains(strings.ToLower(f.Engine.Kernel), "microsoft"):
		return Outcome{Fail, "WSL, kernel " + f.Engine.Kernel, away}
	}
	return pass("%s, %d cores, %d GiB", f.Engine.Name, f.Engine.CPUs, f.Engine.Memory>>30)
}

func hostMemory(f Facts) Outcome {
	wanted := int64(f.Wanted.Count) * f.Wanted.Memory
	observed := fmt.Sprintf("%d × %d MiB needed, %d MiB available", f.Wanted.Count, f.Wanted.Memory>>20, f.Engine.Memory>>20)
	if wanted > f.Engine.Memory {
		return Outcome{Warn, observed, advice("use fewer runners, or a lower runners.memory")}
	}
	return pass("%s", observed)
}

// runnersPerCore is the largest useful number of runners per core.
const runnersPerCore = 4

func hostCPUs(f Facts) Outcome {
	observed := fmt.Sprintf("%d × %g needed, %d available", f.Wanted.Count, f.Wanted.CPUs, f.Engine.CPUs)
	if f.Wanted.Count > runnersPerCore*f.Engine.CPUs {
		return Outcome{Warn, observed, advice("use fewer runners: at most %d on this machine", runnersPerCore*f.Engine.CPUs)}
	}
	return pass("%s", observed)
}

func hostClock(f Facts) Outcome {
	if skew := f.Engine.Skew.Abs(); skew > 30*time.Second {
		return Outcome{Warn, fmt.Sprintf("the engine's clock and this one differ by %s", skew.Round(time.Second)),
			fix("synchronize both clocks with NTP", shell{"keep_clock", "[ ! -d /run/systemd/system ] || timedatectl show -p NTP --value | grep -qx yes", "timedatectl set-ntp true"})}
	}
	return pass("agrees with this one")
}
