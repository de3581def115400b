package doctor

import (
	"errors"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

var usernsChecks = []Check{
	{ID: "userns.max", Title: "user namespaces allowed", Group: "User namespaces", Severity: Mandatory, Needs: NeedsMachine, Run: usernsMax,
		Why: "at the limit, the kernel reports \"no space left on device\""},
	{ID: "userns.clone", Title: "unprivileged user namespaces", Group: "User namespaces", Severity: Mandatory, Needs: NeedsMachine, Run: usernsClone,
		Why: "a runner creates its user namespace without privileges"},
	{ID: "userns.apparmor", Title: "AppArmor's restriction of user namespaces", Group: "User namespaces", Severity: Mandatory, Needs: NeedsMachine, Run: usernsAppArmor,
		Why: "Ubuntu 23.10 and newer deny user namespaces to programs without a profile that allows them"},
	{ID: "userns.engine", Title: "engine's own user namespace", Group: "User namespaces", Severity: Mandatory, Needs: NeedsEngine, Run: usernsEngine,
		Why: "an engine that is rootless or remaps users has no 65536 ids left for a runner"},
	{ID: "userns.ids", Title: "ids of the engine's machine", Group: "User namespaces", Severity: Mandatory, Needs: NeedsMachine, Run: usernsIDs,
		Why: "a machine that is itself a container may have too few ids: runners use 1001 and 100000 to 165535, or to 2147583647 with runners.idRange: 2147483648"},
}

func usernsMax(f Facts) Outcome {
	value, ok := sysctl(f, "user.max_user_namespaces")
	if !ok {
		return Outcome{Fail, "this kernel has no user namespaces", advice("use a kernel with CONFIG_USER_NS")}
	}
	number, err := strconv.Atoi(value)
	remedy := fix("allow more", setting{"user.max_user_namespaces", 28633, true})
	switch {
	case err != nil || number == 0:
		return Outcome{Fail, value + " allowed", remedy}
	case number < 1024:
		return Outcome{Warn, value + " allowed", remedy}
	}
	return pass("%s allowed", value)
}

func usernsClone(f Facts) Outcome {
	if value, ok := sysctl(f, "kernel.unprivileged_userns_clone"); ok && value == "0" {
		return Outcome{Fail, "kernel.unprivileged_userns_clone = 0", fix("allow them", setting{"kernel.unprivileged_userns_clone", 1, false})}
	}
	return pass("allowed")
}

// AppArmorProfile is the profile of runners on machines that have it loaded.
const AppArmorProfile = "runnerctl-runner"

func usernsAppArmor(f Facts) Outcome {
	value, ok := sysctl(f, "kernel.apparmor_restrict_unprivileged_userns")
	if !ok || value == "0" {
		return pass("not restricted")
	}
	if AppArmorProfileLoaded(f.Machine.Root, AppArmorProfile) {
		return pass("restricted, but the profile %s allows it", AppArmorProfile)
	}
	return Outcome{Fail, "restricted", fix("lift the restriction", setting{"kernel.apparmor_restrict_unprivileged_userns", 0, false})}
}

const appArmorProfiles = "sys/kernel/security/apparmor/profiles"

// AppArmorProfileLoaded reports whether the kernel has a profile of that name.
func AppArmorProfileLoaded(root fs.FS, name string) bool {
	text, err := fs.ReadFile(root, appArmorProfiles)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name+" ") {
			return true
		}
	}
	return false
}

// AppArmorReadable reports whether the list of profiles can be read: the kernel shows it to
// root, and to root's group.
func AppArmorReadable(root fs.FS) bool {
	file, err := root.Open(appArmorProfiles)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = file.Close() }()
	_, err = file.Read(make([]byte, 1))
	return err == nil || errors.Is(err, io.EOF)
}

func usernsEngine(f Facts) Outcome {
	remedy := advice("use a Docker Engine that runs as root, without userns-remap")
	switch {
	case has(f.Engine.SecurityOptions, "name=rootless"):
		return Outcome{Fail, "the engine is rootless", remedy}
	case has(f.Engine.SecurityOptions, "name=userns"):
		return Outcome{Fail, "the engine remaps users (userns-remap)", remedy}
	}
	return pass("none")
}

func has(options []string, name string) bool {
	for _, option := range options {
		if option == name || strings.HasPrefix(option, name+",") {
			return true
		}
	}
	return false
}

// firstID is the first id of the engine's machine in a runner's range (templates.FirstID).
const firstID = 100000

func usernsIDs(f Facts) Outcome {
	text, err := fs.ReadFile(f.Machine.Root, f.Machine.Process+"/uid_map")
	if err != nil {
		return skip("the engine's uid map can't be read")
	}
	var reach int64 // ids from 0 on without a gap
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		first, _ := strconv.ParseInt(fields[0], 10, 64) // the kernel writes numbers
		length, _ := strconv.ParseInt(fields[2], 10, 64)
		if first <= reach {
			reach = max(reach, first+length)
		}
	}
	observed := strings.Join(strings.Fields(string(text)), " ")
	switch {
	case observed == "0 0 4294967295":
		return pass("all of them")
	case reach < firstID+f.Wanted.IDs:
		return Outcome{Fail, "this machine is itself in a user namespace, with too few ids: " + observed, advice("use a dedicated machine, or configure its container manager to assign %d ids (lxc.idmap, raw.idmap)", firstID+f.Wanted.IDs)}
	}
	return pass("a part of another machine's ids, and enough: %s", observed)
}
