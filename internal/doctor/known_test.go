package doctor

import "testing"

// The real text of each known error, as it was met.
var knownTexts = map[string][]string{
	"tun.missing":       {`runner ci-7k2p: start container: error gathering device information while adding custom device "/dev/net/tun": no such file or directory`},
	"tun.flag":          {`start: missing: /dev/net/tun: --device /dev/net/tun`},
	"tun.mode":          {"open: Permission denied", `start: /dev/net/tun is not open to uid 1001: chmod 0666 /dev/net/tun on the host`, `slirp4netns: open("/dev/net/tun"): Permission denied`, `Failed to open() /dev/net/tun: Permission denied`},
	"userns.max":        {"unshare: unshare failed: No space left on device", "failed to start the child: fork/exec /proc/self/exe: no space left on device"},
	"userns.apparmor":   {"[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: permission denied", "unshare: unshare failed: Permission denied"},
	"seccomp":           {"unshare: unshare failed: Operation not permitted", "[rootlesskit:parent] error: failed to start the child: fork/exec /proc/self/exe: operation not permitted", "sethostname: operation not permitted"},
	"keyctl":            {"unable to join session keyring: unable to create session key: operation not permitted", "unable to join session keyring: unable to create session key: disk quota exceeded"},
	"proc.masked":       {"mount: /rootfs/proc: permission denied.", "start: missing: an unmasked /proc: --security-opt systempaths=unconfined", `error mounting "proc" to rootfs at "/proc": mount proc:/proc (via /proc/self/fd/7), flags: 0xe: operation not permitted`},
	"sysfs":             {`docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error mounting "sysfs" to rootfs at "/sys": mount sysfs:/sys (via /proc/self/fd/7), flags: 0xe: operation not permitted: unknown.`},
	"ids.narrow":        {`failed to register layer: failed to Lchown "/file" for UID 70000, GID 70000 (try increasing the number of subordinate IDs in /etc/subuid and /etc/subgid): lchown /file: invalid argument`},
	"seccomp.file":      {`CreateContainerError: failed to generate security options for container "runner": failed to generate seccomp security options for container: cannot load seccomp profile "/var/lib/kubelet/seccomp/runnerctl.json": open /var/lib/kubelet/seccomp/runnerctl.json: no such file or directory`},
	"apparmor.profile":  {`CreateContainerError: failed to generate container "a" spec: failed to generate apparmor spec opts: apparmor profile not found runnerctl`},
	"apparmor.off":      {"Cannot enforce AppArmor: AppArmor is not enabled on the host"},
	"ids.few":           {"newuidmap ended with code 1: newuidmap: write to uid_map failed: Operation not permitted\nstart: missing: ids 100000 to 165535, of which this container has 65536 in total: build the image with runnerctl build --for kubernetes"},
	"subid.overlap":     {"[rootlesskit:parent] error: failed to setup UID/GID map: newuidmap 39 [0 1000 1 1 100000 65536 65537 100000 65536] failed: newuidmap: write to uid_map failed: Invalid argument", "assert: /etc/subuid must hold only runner:100000:65536; it holds: runner:100000:65536"},
	"newuidmap":         {"newuidmap: open of uid_map failed: Permission denied", "newuidmap: write to uid_map failed: Operation not permitted", "assert: file capabilities in the outer tree: /usr/bin/newgidmap cap_setgid=ep"},
	"rlimit":            {"OCI runtime create failed: runc create failed: unable to start container process: error during container init: error setting rlimits for ready process: error setting rlimit type 8: operation not permitted: unknown", "crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied"},
	"nproc":             {`start container: OCI runtime create failed: exec /usr/lib/runnerctl/machine: resource temporarily unavailable: unknown`},
	"image":             {"exec /usr/lib/runnerctl/machine: exec format error", `exec: "/usr/lib/runnerctl/machine": stat /usr/lib/runnerctl/machine: no such file or directory`},
	"pids":              {"dockerd: runtime/cgo: pthread_create failed: Resource temporarily unavailable", "start: fork: Resource temporarily unavailable", "docker: Error response from daemon: fork/exec /usr/bin/docker-proxy: resource temporarily unavailable"},
	"no-new-privileges": {"newuidmap: write to uid_map failed: Operation not permitted\nstart: missing: privileges that newuidmap and newgidmap gain: run without --security-opt no-new-privileges"},
	"capabilities":      {"newuidmap: write to uid_map failed: Operation not permitted\nstart: missing: capabilities for newuidmap and newgidmap: --cap-add SETUID --cap-add SETGID"},
	"setuid":            {"assert: setuid or setgid files in the outer tree: /usr/bin/mount"},
	"network.driver":    {"start: slirp4netns is missing", "start: pasta is missing"},
	"iptables":          {`failed to start daemon: Error initializing network controller: error obtaining controller instance: failed to register "bridge" driver: failed to find iptables`},
	"iptables.kernel":   {"iptables v1.8.11 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to insmod?)"},
	"rootlesskit":       {`failed to start daemon: exec: "rootlesskit-docker-proxy": executable file not found in $PATH`},
	"cgroup.option":     {"failed to start daemon: native.cgroupdriver option none is internally used and cannot be specified manually"},
	"share":             {"[rootlesskit:child ] error: failed to share mount point: /: permission denied"},
	"pty":               {"sudo: unable to allocate pty: Operation not permitted"},
	"storage.vfs":       {"storage driver vfs on overlayfs: whole layers are copied", "overlayfs: filesystem on '/var/lib/docker' not supported as upperdir"},
	"pool.collision":    {"172.17.0.3 of the outer network is hidden by docker0"},
	"mtu":               {"MTU 1500 in a container on network bridge, 1400 on the machine's outbound interface: larger packets are lost", "32 MiB from a container to 172.17.0.3 did not get through at MTU 65520"},
	"cgroup.nested":     {"docker: Error response from daemon: failed to create task: mkdir /sys/fs/cgroup/cpuset/docker: read-only file system: unknown."},
	"engine.caps":       {"OCI runtime create failed: runc create failed: unable to start container process: unable to apply caps: operation not permitted: unknown"},
	"pools.full":        {"Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"},
	"bridge.full":       {"runner ci-7k2p: start container: failed to create endpoint ci-7k2p on network bridge: no available IPv4 addresses on this network's address pools: bridge"},
	"disk.full":         {"write /var/lib/docker/tmp/GetImageBlob: no space left on device"},
	"engine.down":       {"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"},
	"rslave":            {`[rootlesskit:parent] The host root filesystem is mounted as "master:1". Setting child propagation to "rslave" is not supported.`},
}

func TestKnown(t *testing.T) {
	for _, one := range known {
		if len(knownTexts[one.ID]) == 0 {
			t.Errorf("%s: no real text", one.ID)
		}
		if one.Cause == "" || one.Cure == "" {
			t.Errorf("%s: no cause or no cure", one.ID)
		}
	}
	for id, texts := range knownTexts {
		for _, text := range texts {
			// Among lines that any start has.
			logged := "sent tapfd=5 for tap0\n" + text + "\ndockerd: level=warning msg=\"Running in rootless mode. This mode has feature limitations.\"\n"
			if found := Matching(logged); len(found) != 1 || found[0].ID != id {
				t.Errorf("%q: found %+v, want %s alone", text, found, id)
			}
		}
	}
	for _, harmless := range []string{
		"", "sent tapfd=5 for tap0\nreceived tapfd=5",
		`dockerd: level=warning msg="Not using native diff for overlay2, this may cause degraded performance for building images: running in a user namespace" storage-driver=overlay2`,
	} {
		if found := Explain(harmless); found != nil {
			t.Errorf("%q: found %s, want nothing", harmless, found.ID)
		}
	}
}
