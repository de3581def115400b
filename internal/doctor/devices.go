package doctor

import (
	"fmt"
	"io/fs"
)

var deviceChecks = []Check{
	{ID: "devices.tun", Title: "/dev/net/tun", Group: "Devices", Severity: Mandatory, Needs: NeedsMachine, Run: devicesTun,
		Why: "the runner's own network (slirp4netns, pasta) opens it as uid 1001, and a container gets the host's mode"},
	{ID: "devices.fuse", Title: "/dev/fuse", Group: "Devices", Severity: Advice, Needs: NeedsMachine, Run: devicesFuse,
		Why: "old kernels need fuse-overlayfs in place of overlayfs; others do without"},
}

func devicesTun(f Facts) Outcome {
	info, err := fs.Stat(f.Machine.Root, "dev/net/tun")
	if err != nil {
		return Outcome{Fail, "/dev/net/tun is missing", fix("load the module", module("tun"), openTun{})}
	}
	mode := info.Mode().Perm()
	observed := fmt.Sprintf("/dev/net/tun has mode %04o", mode)
	if mode&0o006 != 0o006 {
		return Outcome{Fail, observed, fix("open it to every user, as udev does", openTun{})}
	}
	return pass("%s", observed)
}

func devicesFuse(f Facts) Outcome {
	info, err := fs.Stat(f.Machine.Root, "dev/fuse")
	if err != nil {
		return pass("none, and none is needed")
	}
	return pass("/dev/fuse has mode %04o, and is not needed", info.Mode().Perm())
}
