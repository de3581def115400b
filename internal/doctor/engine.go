package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/internal/hint"
)

var engineChecks = []Check{
	{ID: "engine.reachable", Title: "Docker Engine", Group: "Engine", Severity: Mandatory, Run: engineReachable,
		Why: "runners are containers of it"},
	{ID: "engine.version", Title: "engine version", Group: "Engine", Severity: Mandatory, Needs: NeedsEngine, Run: engineVersion,
		Why: "older engines lack build and security options that runners need"},
	{ID: "engine.containers", Title: "a container", Group: "Engine", Severity: Mandatory, Needs: NeedsEngine | WantsContainer | WantsMachine, Run: engineContainers,
		Why: "runners are containers, and some checks need a view from inside a container"},
	{ID: "engine.seccomp", Title: "seccomp", Group: "Engine", Severity: Mandatory, Needs: NeedsEngine, Run: engineSeccomp,
		Why: "runners get a profile of their own, part of the security model"},
	{ID: "engine.cgroup", Title: "limits", Group: "Engine", Severity: Advice, Needs: NeedsEngine, Run: engineCgroup,
		Why: "only the engine can limit a runner's memory, cores and processes"},
	{ID: "engine.lsm", Title: "AppArmor and SELinux", Group: "Engine", Severity: Advice, Needs: NeedsEngine, Run: engineLSM,
		Why: "their default profiles refuse the mounts that a runner's start makes"},
	{ID: "engine.capabilities", Title: "the engine's own privilege", Group: "Engine", Severity: Mandatory, Needs: NeedsMachine, Run: engineCapabilities,
		Why: "an engine can't give containers a privilege that it lacks"},
	{ID: "engine.limits", Title: "limits of processes", Group: "Engine", Severity: Advice, Needs: NeedsMachine | WantsContainer, Run: engineLimits,
		Why: "containers of jobs request more open files and locked memory (--ulimit), and the engine can't exceed its own limits"},
	{ID: "engine.runtime", Title: "container runtime", Group: "Engine", Severity: Mandatory, Needs: NeedsEngine, Run: engineRuntime,
		Why: "the engine must know the runtime of runners.runtime"},
}

func engineReachable(f Facts) Outcome {
	var refusal *LocalRefusal
	switch {
	case f.EngineErr == nil:
		return pass("%s", f.Endpoint)
	case errors.As(f.EngineErr, &refusal):
		return skip("not asked")
	case hint.Of(f.EngineErr) != "": // a remote engine: it can't be fixed on this machine
		return Outcome{Fail, f.EngineErr.Error(), advice("%s", hint.Of(f.EngineErr))}
	case strings.Contains(f.EngineErr.Error(), "permission denied"):
		return Outcome{Fail, f.EngineErr.Error(), joinDocker(f.Client.User)}
	}
	return Outcome{Fail, f.EngineErr.Error(), fix("start the engine, or point DOCKER_HOST or the docker context at one", shell{"start_engine", "systemctl is-active -q docker", "systemctl enable --now docker"})}
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_.-]*$`)

func joinDocker(user string) Remedy {
	const text = "add this user to the group that may open the engine's socket (its members are root on that machine), then log in again"
	if !plainName.MatchString(user) {
		return advice("%s: usermod -aG docker USER", text)
	}
	return fix(text, shell{"join_docker", "id -nG " + user + " | grep -qw docker", "usermod -aG docker " + user})
}

func engineVersion(f Facts) Outcome {
	major, minor := version(f.Engine.Version)
	if major < 20 || major == 20 && minor < 10 {
		return Outcome{Fail, f.Engine.Version, advice("upgrade the Docker Engine to 20.10 or newer")}
	}
	restart := "runners stop and start with it (no live-restore)"
	if f.Engine.LiveRestore {
		restart = "runners keep running without it (live-restore)"
	}
	return pass("%s, API %s; %s", f.Engine.Version, f.Engine.API, restart)
}

// engineContainers also reports how mounts propagate from the root of a container and, if it
// can be read, from the machine's.
func engineContainers(f Facts) Outcome {
	if f.NoContainer != nil {
		remedy := advice("docker run fails with any image; the engine's log shows why (journalctl -u docker)")
		if known := Explain(f.NoContainer.Error()); known != nil {
			remedy = advice("%s: %s", known.Cause, known.Cure)
		}
		return Outcome{Fail, f.NoContainer.Error(), remedy}
	}
	root, ok := mountOf(f.Container.Mounts, "/")
	if !ok {
		return pass("starts")
	}
	observed := "starts; its root is " + root.propagation()
	if host, ok := mountOf(f.Machine.mounts(), "/"); ok {
		observed += ", the machine's " + host.propagation()
	}
	if root.propagation() != "private" {
		observed += ` ("Setting child propagation to rslave is not supported" is a harmless warning of rootlesskit)`
	}
	return pass("%s", observed)
}

func engineSeccomp(f Facts) Outcome {
	if !has(f.Engine.SecurityOptions, "name=seccomp") {
		return Outcome{Fail, "the engine has no seccomp", advice("use a kernel with CONFIG_SECCOMP_FILTER and an engine built with seccomp")}
	}
	return pass("supported")
}

// Warnings in `docker info` about limits that the engine can't enforce.
var lostLimits = []string{"No memory limit support", "No cpu cfs quota support", "No pids limit support", "No cpu cfs period support"}

func engineCgroup(f Facts) Outcome {
	observed := fmt.Sprintf("cgroup v%s, %s", f.Engine.Cgroup, f.Engine.CgroupDriver)
	var lost []string
	for _, warning := range f.Engine.Warnings {
		for _, limit := range lostLimits {
			if strings.Contains(warning, limit) {
				lost = append(lost, limit)
			}
		}
	}
	if f.Engine.CgroupDriver == "none" || len(lost) > 0 {
		return Outcome{Warn, strings.Join(append([]string{observed}, lost...), "; "), advice("boot the kernel with the controllers that are missing (cgroup_enable=memory), or use cgroup v2")}
	}
	return pass("%s", observed)
}

func engineLSM(f Facts) Outcome {
	switch {
	case has(f.Engine.SecurityOptions, "name=selinux"):
		return Outcome{Warn, "the engine labels containers for SELinux", advice("not tested yet; \"selinux-enabled\": false in the engine's daemon.json excludes containers, and SELinux keeps protecting the rest")}
	case f.Engine.HasAppArmor():
		return pass("AppArmor; runners use the profile %s if it is loaded, otherwise none", AppArmorProfile)
	}
	return pass("none")
}

// HasAppArmor reports whether the engine confines containers by AppArmor.
func (e Engine) HasAppArmor() bool { return has(e.SecurityOptions, "name=apparmor") }

// Bits of a capability set (capabilities(7)).
const (
	capSetgid      = 6
	capSetuid      = 7
	capSysAdmin    = 21
	capSysResource = 24
)

func engineCapabilities(f Facts) Outcome {
	bounding, ok := boundingSet(f)
	if !ok {
		return skip("the engine's capabilities can't be read")
	}
	missing := func(bit uint) bool { return bounding&(1<<bit) == 0 }
	switch {
	case missing(capSetgid) || missing(capSetuid) || missing(capSysAdmin):
		return Outcome{Fail, fmt.Sprintf("its bounding set is %x: SETUID, SETGID or SYS_ADMIN is missing", bounding), advice("use an engine that runs as the machine's own root")}
	case missing(capSysResource):
		return pass("enough; it lacks SYS_RESOURCE: docker run --privileged fails, which runners do not use")
	}
	return pass("enough")
}

func boundingSet(f Facts) (set uint64, ok bool) {
	text, err := fs.ReadFile(f.Machine.Root, f.Machine.Process+"/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "CapBnd:"); found {
			set, err = strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return set, err == nil
		}
	}
	return 0, false
}

func engineRuntime(f Facts) Outcome {
	switch {
	case f.Wanted.Runtime == "":
		return pass("%s, the engine's default", f.Engine.DefaultRuntime)
	case !slices.Contains(f.Engine.Runtimes, f.Wanted.Runtime):
		return Outcome{Fail, fmt.Sprintf("the engine has no runtime %s (it has %s)", f.Wanted.Runtime, strings.Join(f.Engine.Runtimes, ", ")), advice("install it and add it under \"runtimes\" in the engine's daemon.json, or remove runners.runtime")}
	}
	return pass("%s", f.Wanted.Runtime)
}
