package doctor

import (
	"fmt"
	"io/fs"
)

var deviceChecks = []Check{
	{ID: "devices.tun", Title: "/dev/net/tun", Group: "Devices", Severity: Mandatory, Needs: NeedsMachine, Run: devicesTun,
		Why: "the runner's own network (slirp4netns, pasta) opens it as uid 1001, and a container gets the host's mode"},
}

func devicesTun(f Facts) Outcome {
	info, err := fs.Stat(f.Machine.Root, "dev/net/tun")
	if err != nil {
		if kernelConfig(f)["CONFIG_TUN"] == "m" {
			return Outcome{Fail, "/dev/net/tun is missing", fix("load the module", module("tun"), openTun{})}
		}
		return Outcome{Fail, "/dev/net/tun is missing", fix("make the device", openTun{make: true})}
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
