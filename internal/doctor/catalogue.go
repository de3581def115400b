package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// Catalogue is every check, grouped in the order of reading.
func Catalogue() []Check {
	return []Check{
		{ID: "host.os", Title: "operating system", Group: "Host", Severity: Mandatory, Run: hostOS,
			Why: "runners are Linux containers with their own user namespaces"},
		{ID: "host.memory", Title: "memory for the runners", Group: "Host", Severity: Advice, NeedsEngine: true, Run: hostMemory,
			Why: "limits are upper bounds: jobs that use them all at once need the memory to be there"},
		{ID: "host.disk", Title: "free disk", Group: "Host", Severity: Advice, NeedsEngine: true, Run: hostDisk,
			Why: "every runner keeps its images and containers in a volume of its own"},
		{ID: "engine.reachable", Title: "Docker Engine", Group: "Engine", Severity: Mandatory, Run: engineReachable,
			Why: "runners are containers of it"},
		{ID: "engine.version", Title: "engine version", Group: "Engine", Severity: Mandatory, NeedsEngine: true, Run: engineVersion,
			Why: "older engines lack the build and the security options that runners need"},
		{ID: "engine.rootful", Title: "engine's own user namespace", Group: "Engine", Severity: Mandatory, NeedsEngine: true, Run: engineRootful,
			Why: "an engine that is itself rootless has no 65536 ids left to give to a runner"},
		{ID: "engine.seccomp", Title: "seccomp", Group: "Engine", Severity: Mandatory, NeedsEngine: true, Run: engineSeccomp,
			Why: "runners get a profile of their own, part of the security model"},
		{ID: "engine.storage", Title: "storage driver", Group: "Engine", Severity: Mandatory, NeedsEngine: true, Run: engineStorage,
			Why: "vfs copies every layer whole"},
		{ID: "kernel.version", Title: "kernel", Group: "Kernel", Severity: Mandatory, NeedsEngine: true, Run: kernelVersion,
			Why: "overlayfs can be mounted in a user namespace since 5.11"},
		{ID: "userns.max", Title: "user namespaces allowed", Group: "User namespaces", Severity: Mandatory, NeedsFiles: true, Run: usernsMax,
			Why: "at the limit the kernel says \"no space left on device\""},
		{ID: "userns.clone", Title: "unprivileged user namespaces", Group: "User namespaces", Severity: Mandatory, NeedsFiles: true, Run: usernsClone,
			Why: "a runner makes its user namespace without privilege"},
		{ID: "userns.apparmor", Title: "AppArmor's restriction of user namespaces", Group: "User namespaces", Severity: Mandatory, NeedsFiles: true, Run: usernsAppArmor,
			Why: "Ubuntu 23.10 and newer refuse user namespaces to programs without a profile that allows them"},
		{ID: "devices.tun", Title: "/dev/net/tun", Group: "Devices", Severity: Mandatory, NeedsFiles: true, Run: devicesTun,
			Why: "the runner's own network (slirp4netns, pasta) opens it as uid 1001, and a container gets the host's mode"},
	}
}

func pass(format string, args ...any) Outcome {
	return Outcome{Status: Pass, Observed: fmt.Sprintf(format, args...)}
}

func hostOS(f Facts) Outcome {
	var refusal *LocalRefusal
	if errors.As(RefuseLocal(f.ClientOS, f.Endpoint), &refusal) {
		return Outcome{Fail, refusal.Error(), Remedy{Text: refusal.Hint()}}
	}
	if f.OperatingSystem == "" {
		return pass("%s", f.ClientOS)
	}
	return pass("%s", f.OperatingSystem)
}

func hostMemory(f Facts) Outcome {
	wanted := int64(f.Count) * f.MemoryPerRunner
	observed := fmt.Sprintf("%d × %d MiB wanted, %d MiB there", f.Count, f.MemoryPerRunner>>20, f.MemTotal>>20)
	if wanted > f.MemTotal {
		return Outcome{Warn, observed, Remedy{Text: "fewer runners, or a lower runners.memory"}}
	}
	return pass("%s", observed)
}

func hostDisk(f Facts) Outcome {
	observed := fmt.Sprintf("%d GiB free in %s", f.FreeDisk>>30, f.RootDir)
	switch {
	case f.FreeDisk < 0:
		return Outcome{Status: Skip, Observed: "not known from here"}
	case f.FreeDisk < 10<<30:
		return Outcome{Warn, observed, Remedy{Text: "free some space; the image alone takes about 1 GiB"}}
	}
	return pass("%s", observed)
}

func engineReachable(f Facts) Outcome {
	var refusal *LocalRefusal
	switch {
	case f.EngineErr == nil:
		return pass("%s", f.Endpoint)
	case errors.As(f.EngineErr, &refusal):
		return Outcome{Status: Skip, Observed: "not asked"}
	case strings.Contains(f.EngineErr.Error(), "permission denied"):
		return Outcome{Fail, f.EngineErr.Error(), Remedy{"this user may not open the engine's socket; whoever may is root on that machine", []string{"usermod -aG docker $SUDO_USER"}}}
	}
	return Outcome{Fail, f.EngineErr.Error(), Remedy{"start the engine, or point DOCKER_HOST or the docker context at one", []string{"systemctl enable --now docker"}}}
}

func engineVersion(f Facts) Outcome {
	major, minor := version(f.EngineVersion)
	if major < 20 || major == 20 && minor < 10 {
		return Outcome{Fail, f.EngineVersion, Remedy{Text: "upgrade the Docker Engine to 20.10 or newer"}}
	}
	return pass("%s, API %s", f.EngineVersion, f.APIVersion)
}

func has(options []string, name string) bool {
	for _, option := range options {
		if option == name || strings.HasPrefix(option, name+",") {
			return true
		}
	}
	return false
}

func engineRootful(f Facts) Outcome {
	remedy := Remedy{Text: "use a Docker Engine that runs as root, without userns-remap"}
	switch {
	case has(f.SecurityOptions, "name=rootless"):
		return Outcome{Fail, "the engine is rootless", remedy}
	case has(f.SecurityOptions, "name=userns"):
		return Outcome{Fail, "the engine remaps users (userns-remap)", remedy}
	}
	if f.Root != nil {
		if text, err := fs.ReadFile(f.Root, "proc/self/uid_map"); err == nil {
			if fields := strings.Fields(string(text)); strings.Join(fields, " ") != "0 0 4294967295" {
				return Outcome{Fail, "this machine is itself in a user namespace: " + strings.Join(fields, " "), Remedy{Text: "use a machine of its own, or a container manager that gives it more ids"}}
			}
		}
	}
	return pass("none")
}

func engineSeccomp(f Facts) Outcome {
	if !has(f.SecurityOptions, "name=seccomp") {
		return Outcome{Fail, "the engine has no seccomp", Remedy{Text: "use a kernel with CONFIG_SECCOMP_FILTER and an engine built with seccomp"}}
	}
	return pass("supported")
}

func engineStorage(f Facts) Outcome {
	switch f.StorageDriver {
	case "vfs":
		return Outcome{Fail, "vfs", Remedy{Text: "put the engine's root on ext4 or xfs, so that it can use overlay2"}}
	case "overlay2", "overlayfs":
		return pass("%s", f.StorageDriver)
	}
	return Outcome{Warn, f.StorageDriver, Remedy{Text: "overlay2 is what is tested"}}
}

func kernelVersion(f Facts) Outcome {
	major, minor := version(f.KernelVersion)
	if major < 5 || major == 5 && minor < 11 {
		return Outcome{Fail, f.KernelVersion, Remedy{Text: "use a kernel of 5.11 or newer: Debian 12, Ubuntu 22.04, Amazon Linux 2023 have one"}}
	}
	return pass("%s", f.KernelVersion)
}

var versionPattern = regexp.MustCompile(`^(\d+)\.(\d+)`)

func version(text string) (major, minor int) {
	parts := versionPattern.FindStringSubmatch(text)
	if parts == nil {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[1]) // digits by the pattern
	minor, _ = strconv.Atoi(parts[2])
	return major, minor
}

// setting reads one sysctl; ok is false where the kernel has none of the name.
func setting(f Facts, path string) (value string, ok bool) {
	text, err := fs.ReadFile(f.Root, path)
	return strings.TrimSpace(string(text)), err == nil
}

func sysctl(name, value string) []string {
	return []string{fmt.Sprintf("sysctl -w %s=%s", name, value), fmt.Sprintf("echo %s=%s >>/etc/sysctl.d/60-runnerctl.conf", name, value)}
}

func usernsMax(f Facts) Outcome {
	value, ok := setting(f, "proc/sys/user/max_user_namespaces")
	if !ok {
		return Outcome{Fail, "this kernel has no user namespaces", Remedy{Text: "use a kernel with CONFIG_USER_NS"}}
	}
	number, err := strconv.Atoi(value)
	remedy := Remedy{"allow more", sysctl("user.max_user_namespaces", "28633")}
	switch {
	case err != nil || number == 0:
		return Outcome{Fail, value + " allowed", remedy}
	case number < 1024:
		return Outcome{Warn, value + " allowed", remedy}
	}
	return pass("%s allowed", value)
}

func usernsClone(f Facts) Outcome {
	if value, ok := setting(f, "proc/sys/kernel/unprivileged_userns_clone"); ok && value == "0" {
		return Outcome{Fail, "kernel.unprivileged_userns_clone = 0", Remedy{"allow them", sysctl("kernel.unprivileged_userns_clone", "1")}}
	}
	return pass("allowed")
}

func usernsAppArmor(f Facts) Outcome {
	value, ok := setting(f, "proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	if !ok || value == "0" {
		return pass("not restricted")
	}
	if AppArmorProfileLoaded(f.Root, "runnerctl-runner") {
		return pass("restricted, and the profile runnerctl-runner allows it")
	}
	return Outcome{Fail, "restricted", Remedy{"lift the restriction", sysctl("kernel.apparmor_restrict_unprivileged_userns", "0")}}
}

// AppArmorProfileLoaded tells whether the kernel has a profile of that name.
func AppArmorProfileLoaded(root fs.FS, name string) bool {
	text, err := fs.ReadFile(root, "sys/kernel/security/apparmor/profiles")
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, name+" ") {
			return true
		}
	}
	return false
}

func devicesTun(f Facts) Outcome {
	info, err := fs.Stat(f.Root, "dev/net/tun")
	if err != nil {
		return Outcome{Fail, "/dev/net/tun is missing", Remedy{"load the module", []string{"modprobe tun", "chmod 0666 /dev/net/tun"}}}
	}
	mode := info.Mode().Perm()
	observed := fmt.Sprintf("/dev/net/tun has mode %04o", mode)
	if mode&0o006 != 0o006 {
		return Outcome{Fail, observed, Remedy{"open it to every user, as udev does", []string{"chmod 0666 /dev/net/tun"}}}
	}
	return pass("%s", observed)
}
