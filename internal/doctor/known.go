package doctor

import "regexp"

// Known is an error that others have met before. The JSON form is public.
type Known struct {
	ID    string `json:"id"`
	Cause string `json:"cause"`
	Cure  string `json:"cure"`

	pattern, unless *regexp.Regexp // a text that matches unless means another error
}

// Explain finds the known error in printed or logged text. It returns nil if there is none.
func Explain(text string) *Known {
	if found := Matching(text); len(found) > 0 {
		return &found[0]
	}
	return nil
}

// KnownAs returns the known error with that id, or nil.
func KnownAs(id string) *Known {
	for _, one := range known {
		if one.ID == id {
			return &one
		}
	}
	return nil
}

// Matching returns all known errors that a text matches.
func Matching(text string) (found []Known) {
	for _, one := range known {
		if one.pattern.MatchString(text) && (one.unless == nil || !one.unless.MatchString(text)) {
			found = append(found, one)
		}
	}
	return found
}

// known is ordered from the specific to the general: the first match counts. known_test.go has
// the real text of each error.
var known = []Known{
	// Requirements of a runner on the host.
	{ID: "tun.missing", Cause: "the host has no /dev/net/tun", Cure: "modprobe tun on the host; echo tun >/etc/modules-load.d/tun.conf keeps it",
		pattern: regexp.MustCompile(`custom device "/dev/net/tun": no such file`)},
	{ID: "tun.flag", Cause: "the container was started without the device /dev/net/tun", Cure: "start it with --device /dev/net/tun, as runnerctl up does",
		pattern: regexp.MustCompile(`missing: /dev/net/tun:`)},
	{ID: "tun.mode", Cause: "/dev/net/tun of the host is not open to uid 1001, and a container gets the host's mode", Cure: "chmod 0666 /dev/net/tun on the host",
		pattern: regexp.MustCompile(`/dev/net/tun is not open|open\("/dev/net/tun"\): Permission denied|Failed to open\(\) /dev/net/tun: Permission denied|(?m:^open: Permission denied$)`)},
	{ID: "userns.max", Cause: "the limit of user namespaces is reached or 0; the kernel reports it with these words", Cure: "sysctl -w user.max_user_namespaces=28633",
		pattern: regexp.MustCompile(`unshare failed: No space left on device|userns: no space left on device|/proc/self/exe: no space left on device`)},
	{ID: "userns.apparmor", Cause: "AppArmor's profile for containers denies user namespaces", Cure: "start it with --security-opt apparmor=unconfined, as runnerctl up does; on Ubuntu 23.10 and newer, also sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
		pattern: regexp.MustCompile(`/proc/self/exe: permission denied|unshare failed: Permission denied`)},
	{ID: "seccomp", Cause: "the engine's default seccomp profile, or kernel.unprivileged_userns_clone=0, denies user namespaces", Cure: "start it with runnerctl's profile, as runnerctl up does; sysctl -w kernel.unprivileged_userns_clone=1",
		pattern: regexp.MustCompile(`unshare failed: Operation not permitted|/proc/self/exe: operation not permitted|sethostname: operation not permitted`)},
	{ID: "keyctl", Cause: "the seccomp profile answers keyctl with EPERM, or all runners together have used up the kernel's keys of uid 1001", Cure: "let the profile answer keyctl with ENOSYS, as runnerctl's does",
		pattern: regexp.MustCompile(`unable to join session keyring`)},
	{ID: "proc.masked", Cause: "parts of the container's /proc are masked, so the kernel allows no new proc mount", Cure: "start it with --security-opt systempaths=unconfined, as runnerctl up does",
		pattern: regexp.MustCompile(`missing: an unmasked /proc|mount: /rootfs/proc: permission denied|mount: /rootfs/proc: .*not permitted|mounting "proc".*operation not permitted|mount proc.*operation not permitted`)},
	{ID: "sysfs", Cause: "the container has no read-write sysfs, so the kernel allows no new sysfs mount", Cure: "runners.innerPrivileged: true, or --volume /sys:/sys-rw if it is started by hand",
		pattern: regexp.MustCompile(`mounting "sysfs".*operation not permitted|error mounting "sysfs"`)},
	{ID: "rlimit", Cause: "the engine can't give limits of processes that high: it has lower ones itself, and may not raise them", Cure: "request less (doctor's engine.limits shows the maximum for --ulimit), or grant the engine the capability SYS_RESOURCE",
		pattern: regexp.MustCompile(`error setting rlimit|(?i:setrlimit).*: Operation not permitted`)},
	{ID: "nproc", Cause: "the engine's limit of processes per user is lower than the total of all runners on this machine", Cure: "remove \"nproc\" from \"default-ulimits\" in the engine's daemon.json, or raise LimitNPROC in its unit",
		pattern: regexp.MustCompile(`exec (/usr/lib/runnerctl/machine|/usr/bin/tini|/bin/cat)\S*: resource temporarily unavailable`)},
	{ID: "no-new-privileges", Cause: "no-new-privileges disables the file capability of newuidmap", Cure: "start it with --security-opt no-new-privileges=false, as runnerctl up does, even if the engine's daemon.json turns it on; inner containers may use it",
		pattern: regexp.MustCompile(`missing: privileges that newuidmap and newgidmap gain`)},
	{ID: "capabilities", Cause: "the container lacks the capabilities SETUID and SETGID, which newuidmap and newgidmap need", Cure: "start it with --cap-add SETUID --cap-add SETGID, as runnerctl up does",
		pattern: regexp.MustCompile(`missing: capabilities for newuidmap`)},

	// Requirements of a runner on its image.
	{ID: "ids.narrow", Cause: "a file of the image, or the container's user, has an id above 65535, and runners have ids 0 to 65535", Cure: "set runners.idRange: 2147483648 in runnerctl.yaml to give runners all ids; its comment there describes the risk",
		pattern: regexp.MustCompile(`try increasing the number of subordinate IDs|cannot set [ug]id to unmapped (?:user|group) in user namespace|unable to setup user: invalid argument`)},
	{ID: "seccomp.file", Cause: "the node lacks the seccomp profile", Cure: "run node/install.sh of the export on the node",
		pattern: regexp.MustCompile(`cannot load seccomp profile`)},
	{ID: "apparmor.profile", Cause: "the node lacks the AppArmor profile", Cure: "run node/install.sh of the export on the node",
		pattern: regexp.MustCompile(`apparmor profile not found|AppArmor profile "runnerctl" is not loaded`)},
	{ID: "apparmor.off", Cause: "the node's kernel does not use AppArmor", Cure: "export with --no-apparmor",
		pattern: regexp.MustCompile(`AppArmor is not enabled on the host`)},
	{ID: "ids.few", Cause: "the container's own user namespace has fewer ids than the image's map needs: a pod of Kubernetes has 65,536, and an engine with userns-remap too", Cure: "in a pod, use an image of runnerctl build --for kubernetes; otherwise an engine without userns-remap",
		pattern: regexp.MustCompile(`missing: ids [0-9]`)},
	{ID: "subid.overlap", Cause: "a range in /etc/subuid or /etc/subgid is duplicated, overlaps another range, or covers the user's own id: the kernel refuses such a map", Cure: "write only the lines of the map to each of the two files, and run no useradd after that, as runnerctl build does",
		pattern: regexp.MustCompile(`newuidmap.*Invalid argument|newgidmap.*Invalid argument|/etc/sub[ug]id must hold`)},
	{ID: "newuidmap", Cause: "newuidmap has no privilege: it needs the file capability, because with the setuid bit it requires CAP_SYS_ADMIN", Cure: "chmod u-s newuidmap newgidmap, setcap cap_setuid+ep newuidmap, setcap cap_setgid+ep newgidmap; runnerctl build does so",
		pattern: regexp.MustCompile(`newuidmap: open of uid_map failed: Permission denied|newuidmap: write to uid_map failed: Operation not permitted|newgidmap: write to gid_map failed: Operation not permitted|newuidmap.*Could not set caps|file capabilities in the outer tree`),
		unless:  regexp.MustCompile(`start: missing: `)},
	{ID: "setuid", Cause: "a setuid or setgid file in the outer root filesystem, which gives root on the host with an unmasked /proc", Cure: "remove the bit, or build the image again with runnerctl build, which accepts no such file",
		pattern: regexp.MustCompile(`setuid or setgid files in the outer tree`)},
	{ID: "network.driver", Cause: "the outer root filesystem lacks the program for the runner's network", Cure: "build the image again with runnerctl build, which installs slirp4netns and passt",
		pattern: regexp.MustCompile(`(slirp4netns|pasta): (not found|No such file)|neither slirp4netns nor pasta|start: .*(slirp4netns|pasta) is missing`)},
	{ID: "iptables", Cause: "the job root filesystem has no iptables, which its Docker daemon needs for networks", Cure: "add the package iptables to image.packages, and drop the instruction that removes it",
		pattern: regexp.MustCompile(`failed to find iptables|iptables not found|"iptables": executable file not found|iptables: not found`)},
	{ID: "iptables.kernel", Cause: "the kernel has no NAT for the variant of iptables in the job root filesystem", Cure: "modprobe ip_tables iptable_nat nf_tables on the host",
		pattern: regexp.MustCompile(`can't initialize iptables table|Failed to initialize nft|failed to create NAT chain`),
		unless:  regexp.MustCompile(`failed to find iptables|iptables not found|"iptables": executable file not found|iptables: not found`)},
	{ID: "rootlesskit", Cause: "a rootless dockerd looks for rootlesskit, which this machine does not use", Cure: "unset the variables ROOTLESSKIT_… in the job root filesystem",
		pattern: regexp.MustCompile(`rootlesskit-docker-proxy|ROOTLESSKIT_STATE_DIR`)},
	{ID: "cgroup.option", Cause: "cgroup driver none can't be selected by an option", Cure: "start the daemon with --rootless, which selects it",
		pattern: regexp.MustCompile(`option none is internally used`)},
	{ID: "share", Cause: "the container's / can't be made shared: it belongs to another mount namespace", Cure: "remove --propagation=rslave, or run mount --make-rshared / on the host",
		pattern: regexp.MustCompile(`failed to share mount point: /: permission denied`)},
	{ID: "pty", Cause: "sudo creates a terminal in the engine's /dev/pts, which is not the machine's", Cure: "runnerctl exec gives commands a terminal of the machine's own",
		pattern: regexp.MustCompile(`unable to allocate pty: Operation not permitted`)},

	{ID: "image", Cause: "the image lacks one of its own programs, or was built for another architecture", Cure: "runnerctl build --no-cache",
		pattern: regexp.MustCompile(`exec format error|/usr/lib/runnerctl/[a-z-]+: (not found|No such file)|exec: "/usr/(lib/runnerctl/machine|bin/tini)".*no such file`)},

	// Errors of jobs and the inner daemon.
	{ID: "pids", Cause: "the runner has reached its limit of processes and threads: each published port takes two processes of eight threads", Cure: "raise runners.pids",
		pattern: regexp.MustCompile(`pthread_create failed: Resource temporarily unavailable|failed to create new OS thread|fork/exec \S+: resource temporarily unavailable|[Ff]ork: (retry: )?Resource temporarily unavailable|[Cc]annot fork`)},
	{ID: "storage.vfs", Cause: "the daemon's data is on an overlay file system, or on another file system that overlay2 does not support", Cure: "keep the volume at /rootfs/var/lib/docker on ext4 or xfs",
		pattern: regexp.MustCompile(`storage driver vfs|upperdir.*not supported as upperdir|overlayfs: filesystem on .* not supported as upperdir|'overlay2' is not supported over overlayfs|driver not supported: overlay`)},
	{ID: "pool.collision", Cause: "the inner daemon uses the addresses of an outer network, and hides that network", Cure: "let runnerctl up choose the pools, or set a bip and pools that overlap no outer network",
		pattern: regexp.MustCompile(`of the outer network is hidden by`)},
	{ID: "mtu", Cause: "an MTU on the path is smaller than the MTU before it: large packets are lost, small packets pass", Cure: "set network.mtu and the engine's own \"mtu\" (daemon.json) to the smallest MTU on the path",
		pattern: regexp.MustCompile(`larger packets are lost|did not get through at MTU`)},
	{ID: "cgroup.nested", Cause: "a nested daemon has no control groups to assign", Cure: "start it with dockerd --rootless",
		pattern: regexp.MustCompile(`mkdir /sys/fs/cgroup/\S+: read-only file system`)},
	{ID: "engine.caps", Cause: "the engine itself lacks a capability and can't grant it to a privileged container", Cure: "omit --privileged, as runners do, or use --cap-add ALL --cap-drop SYS_RESOURCE",
		pattern: regexp.MustCompile(`unable to apply caps: operation not permitted`)},

	// Resources that the engine runs out of.
	{ID: "pools.full", Cause: "the engine's address pools are used up", Cure: "run docker network prune, or add \"default-address-pools\" in its daemon.json",
		pattern: regexp.MustCompile(`could not find an available, non-overlapping IPv4 address pool`)},
	{ID: "bridge.full", Cause: "the engine's bridge has no address left", Cure: "set a larger \"bip\" in its daemon.json, or run fewer containers",
		pattern: regexp.MustCompile(`no available IPv4 addresses`)},
	{ID: "disk.full", Cause: "the engine's disk is full", Cure: "docker system df shows the usage, docker system prune removes unused objects",
		pattern: regexp.MustCompile(`(?i)no space left on device`), unless: regexp.MustCompile(`userns: |/proc/self/exe: |unshare failed: `)},
	{ID: "engine.down", Cause: "no Docker Engine answers there", Cure: "systemctl enable --now docker, or point DOCKER_HOST or the docker context at one",
		pattern: regexp.MustCompile(`(?i)cannot connect to the Docker daemon`)},

	// A well-known message that is not an error.
	{ID: "rslave", Cause: "a harmless warning of rootlesskit: / of the host is neither private nor shared, and the daemon works", Cure: "omit --propagation=rslave; the failure has another cause",
		pattern: regexp.MustCompile(`The host root filesystem is mounted as "master:\d+"`)},
}
