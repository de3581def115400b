package doctor

import (
	"fmt"
	"io/fs"
	"strings"
)

var deviceChecks = []Check{
	{ID: "devices.tun", Title: "/dev/net/tun", Group: "Devices", Severity: Mandatory, Needs: NeedsMachine, Run: devicesTun,
		Why: "the runner's own network (slirp4netns, pasta) opens it as uid 1001, and a container gets the host's mode"},
	{ID: "devices.wanted", Title: "devices for jobs", Group: "Devices", Severity: Mandatory, Needs: NeedsMachine, Run: devicesWanted,
		Why: "jobs open the devices of runners.devices as an unprivileged user of the host, and a container gets the host's mode"},
}

func devicesWanted(f Facts) Outcome {
	var missing, shut, fine []string
	var fixes []Fix
	for _, name := range f.Wanted.Devices {
		path := "/dev/" + name
		switch info, err := fs.Stat(f.Machine.Root, path[1:]); {
		case err != nil:
			missing = append(missing, path)
		case info.Mode().Perm()&0o006 != 0o006:
			shut = append(shut, fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()))
			open := "{ mkdir -p /etc/tmpfiles.d && echo 'z " + path + " 0666' >/etc/tmpfiles.d/runnerctl-" + name + ".conf && chmod 0666 " + path + "; }"
			fixes = append(fixes, shell{"open_" + strings.ReplaceAll(name, "-", "_"), "[ \"$(stat -c %a " + path + ")\" = 666 ]", open})
		default:
			fine = append(fine, path)
		}
	}
	switch {
	case len(missing) > 0:
		return Outcome{Fail, "missing: " + strings.Join(missing, ", "), advice("load its module (modprobe), use a machine that has it (kvm: with nested virtualization), or remove it from runners.devices")}
	case len(shut) > 0:
		return Outcome{Fail, strings.Join(shut, ", "), fix("open it to every user, now and at each boot", fixes...)}
	case len(fine) == 0:
		return pass("none wanted")
	}
	return pass("%s", strings.Join(fine, ", "))
}

func devicesTun(f Facts) Outcome {
	info, err := fs.Stat(f.Machine.Root, "dev/net/tun")
	if err != nil {
		if kernelConfig(f)["CONFIG_TUN"] == "m" {
			return Outcome{Fail, "/dev/net/tun is missing", fix("load the module", module("tun"), openTun{})}
		}
		return Outcome{Fail, "/dev/net/tun is missing", fix("create the device", openTun{make: true})}
	}
	mode := info.Mode().Perm()
	observed := fmt.Sprintf("/dev/net/tun has mode %04o", mode)
	if fuse, err := fs.Stat(f.Machine.Root, "dev/fuse"); err == nil {
		observed += fmt.Sprintf(", /dev/fuse %04o (not needed)", fuse.Mode().Perm())
	}
	if mode&0o006 != 0o006 {
		return Outcome{Fail, observed, fix("open it to every user, as udev does", openTun{})}
	}
	return pass("%s", observed)
}
