package doctor

import "regexp"

// Known is an error that others met before. The JSON form is public.
type Known struct {
	ID    string `json:"id"`
	Cause string `json:"cause"`
	Cure  string `json:"cure"`

	pattern *regexp.Regexp
}

// Explain finds the first known error in what was printed or logged; nil where
// there is none.
func Explain(text string) *Known {
	for _, one := range known {
		if one.pattern.MatchString(text) {
			return &one
		}
	}
	return nil
}

// known goes from the particular to the general: the first that matches counts.
// known_test.go has the real text of each.
var known = []Known{
	// What a runner needs of the host.
	{"tun.missing", "the host has no /dev/net/tun", "modprobe tun on the host; echo tun >/etc/modules-load.d/tun.conf keeps it",
		regexp.MustCompile(`custom device "/dev/net/tun": no such file`)},
	{"tun.flag", "the container was started without the device /dev/net/tun", "start it with --device /dev/net/tun, as runnerctl up does",
		regexp.MustCompile(`missing: /dev/net/tun:`)},
	{"tun.mode", "/dev/net/tun of the host is not open to uid 1001, and a container gets the host's mode", "chmod 0666 /dev/net/tun on the host",
		regexp.MustCompile(`/dev/net/tun is not open|open\("/dev/net/tun"\): Permission denied|Failed to open\(\) /dev/net/tun: Permission denied|(?m:^open: Permission denied$)`)},
	{"userns.max", "the limit of user namespaces is reached, or 0: the kernel says so in these words", "sysctl -w user.max_user_namespaces=28633",
		regexp.MustCompile(`unshare failed: No space left on device|userns: no space left on device|/proc/self/exe: no space left on device`)},
	{"userns.apparmor", "AppArmor's profile for containers forbids user namespaces", "start it with --security-opt apparmor=unconfined, as runnerctl up does; on Ubuntu 23.10 and newer sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 too",
		regexp.MustCompile(`/proc/self/exe: permission denied|unshare failed: Permission denied`)},
	{"seccomp", "the engine's default seccomp profile, or kernel.unprivileged_userns_clone=0, forbids user namespaces", "start it with runnerctl's profile, as runnerctl up does; sysctl -w kernel.unprivileged_userns_clone=1",
		regexp.MustCompile(`unshare failed: Operation not permitted|/proc/self/exe: operation not permitted|sethostname: operation not permitted`)},
	{"keyctl", "the seccomp profile answers keyctl with EPERM, or all runners together have used up the kernel's keys of uid 1001", "let the profile answer keyctl with ENOSYS, as runnerctl's does",
		regexp.MustCompile(`unable to join session keyring`)},
	{"proc.masked", "parts of the container's /proc are masked, and so the kernel grants no new one", "start it with --security-opt systempaths=unconfined, as runnerctl up does",
		regexp.MustCompile(`missing: an unmasked /proc|mount: /rootfs/proc: permission denied|mount: /rootfs/proc: .*not permitted|mounting "proc".*operation not permitted|mount proc.*operation not permitted`)},
	{"sysfs", "no read-write sysfs is seen in the container, and so the kernel grants no new one", "runners.innerPrivileged: true, or --volume /sys:/sys-rw where it is started by hand",
		regexp.MustCompile(`mounting "sysfs".*operation not permitted|error mounting "sysfs"`)},
	{"no-new-privileges", "no-new-privileges keeps newuidmap from its file capability", "start it without --security-opt no-new-privileges; inner containers may have it",
		regexp.MustCompile(`missing: privileges that newuidmap and newgidmap gain`)},
	{"capabilities", "the container lacks the capabilities SETUID and SETGID, which newuidmap and newgidmap need", "start it with --cap-add SETUID --cap-add SETGID, as runnerctl up does",
		regexp.MustCompile(`missing: capabilities for newuidmap`)},

	// What it needs of its image.
	{"subid.overlap", "a range of /etc/subuid or /etc/subgid is there twice, overlaps another, or covers the user's own id: the kernel refuses such a map", "one line in each of the two files, and no useradd after that; runnerctl build makes them so",
		regexp.MustCompile(`newuidmap.*Invalid argument|newgidmap.*Invalid argument|/etc/sub[ug]id must hold one line`)},
	{"newuidmap", "newuidmap has no privilege: it needs the file capability, since with the setuid bit it wants CAP_SYS_ADMIN", "chmod u-s newuidmap newgidmap, setcap cap_setuid+ep newuidmap, setcap cap_setgid+ep newgidmap; runnerctl build does so",
		regexp.MustCompile(`newuidmap: open of uid_map failed: Permission denied|newuidmap: write to uid_map failed: Operation not permitted|newgidmap: write to gid_map failed: Operation not permitted|newuidmap.*Could not set caps|file capabilities in the outer tree`)},
	{"setuid", "a setuid or setgid file in the outer tree, which with an unmasked /proc is the host's root", "take the bit away in image.outer, or use another outer base: such an image is not built",
		regexp.MustCompile(`setuid or setgid files in the outer tree`)},
	{"network.driver", "the outer tree lacks the program that makes the runner's network", "runnerctl build, with an image.outer that has slirp4netns and passt",
		regexp.MustCompile(`(slirp4netns|pasta): (not found|No such file)|neither slirp4netns nor pasta|start: .*(slirp4netns|pasta) is missing`)},
	{"iptables", "the world has no iptables, which its Docker daemon makes its networks with", "add the package iptables to image.packages, and take away what removes it",
		regexp.MustCompile(`failed to find iptables|iptables not found|"iptables": executable file not found|iptables: not found`)},
	{"iptables.kernel", "the kernel has no NAT for the kind of iptables that the world uses", "modprobe ip_tables iptable_nat nf_tables on the host",
		regexp.MustCompile(`can't initialize iptables table|Failed to initialize nft|failed to create NAT chain`)},
	{"rootlesskit", "a rootless dockerd looks for rootlesskit, which this machine does without", "unset the variables ROOTLESSKIT_… in the world",
		regexp.MustCompile(`rootlesskit-docker-proxy|ROOTLESSKIT_STATE_DIR`)},
	{"cgroup.option", "cgroup driver none can't be asked for", "start the daemon with --rootless, which selects it",
		regexp.MustCompile(`option none is internally used`)},
	{"share", "the container's / can't be made shared: a mount namespace of somebody else's holds it", "take --propagation=rslave away, or mount --make-rshared / on the host",
		regexp.MustCompile(`failed to share mount point: /: permission denied`)},
	{"pty", "sudo makes a terminal in the engine's /dev/pts, which is not the machine's", "runnerctl exec gives commands a terminal of the machine's own",
		regexp.MustCompile(`unable to allocate pty: Operation not permitted`)},

	// What jobs and the inner daemon meet.
	{"storage.vfs", "the daemon's data is on an overlay file system, or another that overlay2 can't stand on", "keep the volume at /rootfs/var/lib/docker on ext4 or xfs",
		regexp.MustCompile(`storage driver vfs|upperdir.*not supported as upperdir|overlayfs: filesystem on .* not supported as upperdir|'overlay2' is not supported over overlayfs|driver not supported: overlay`)},
	{"pool.collision", "the inner daemon's addresses are those of an outer network, and hide it", "leave the pools to runnerctl up, or set a bip and pools that overlap no outer network",
		regexp.MustCompile(`of the outer network is hidden by`)},
	{"mtu", "an MTU on the way is smaller than what comes before it: larger packets are lost, small ones pass", "set network.mtu and the engine's own \"mtu\" (daemon.json) to what the narrowest link carries",
		regexp.MustCompile(`larger packets are lost|did not get through at MTU`)},
	{"cgroup.nested", "a third daemon inside has no control groups to give", "start it with dockerd --rootless",
		regexp.MustCompile(`mkdir /sys/fs/cgroup/\S+: read-only file system`)},
	{"engine.caps", "the engine itself lacks a capability, and can't give it to a privileged container", "do without --privileged, as runners do, or use --cap-add ALL --cap-drop SYS_RESOURCE",
		regexp.MustCompile(`unable to apply caps: operation not permitted`)},

	// What the engine runs out of.
	{"pools.full", "the engine's address pools are used up", "docker network prune, or more \"default-address-pools\" in its daemon.json",
		regexp.MustCompile(`could not find an available, non-overlapping IPv4 address pool`)},
	{"bridge.full", "the engine's bridge has no address left", "a larger \"bip\" in its daemon.json, or fewer containers",
		regexp.MustCompile(`no available IPv4 addresses`)},
	{"disk.full", "the engine's disk is full", "docker system df tells what takes the space, docker system prune frees what nothing uses",
		regexp.MustCompile(`no space left on device`)},
	{"engine.down", "no Docker Engine answers there", "systemctl enable --now docker, or point DOCKER_HOST or the docker context at one",
		regexp.MustCompile(`(?i)cannot connect to the Docker daemon`)},

	// The well-known one that is none.
	{"rslave", "only a warning of rootlesskit's: / of the host is neither private nor shared, and the daemon works all the same", "leave --propagation=rslave out; the failure is another one",
		regexp.MustCompile(`The host root filesystem is mounted as "master:\d+"`)},
}
