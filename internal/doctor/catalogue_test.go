package doctor

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func every() []Check { return append(Catalogue(), ImageCatalogue()...) }

// A healthy machine passes every check, on both kinds.
func TestHealthyMachines(t *testing.T) {
	for name, facts := range map[string]Facts{"Debian 12": debian12(t), "Debian 13": debian13(t)} {
		for _, check := range every() {
			if outcome := check.Run(facts); outcome.Status != Pass {
				t.Errorf("%s: %s: %s %q, want %s", name, check.ID, outcome.Status, outcome.Observed, Pass)
			}
		}
	}
}

// checkCase is one outcome of a check.
type checkCase struct {
	id       string
	facts    Facts
	status   Status
	observed string // is part of the observation
}

// machineWith makes facts of a healthy Debian 13 in which something differs.
type machineWith struct{ t *testing.T }

func (m machineWith) change(change func(*Facts)) Facts {
	facts := debian13(m.t)
	change(&facts)
	return facts
}

// file gives a file another content; without content it is gone.
func (m machineWith) file(path, content string) Facts {
	return replaced(debian13(m.t), path, content)
}

// image changes a file of the image.
func (m machineWith) image(path string, file File) Facts {
	return m.change(func(f *Facts) { f.Image.Files[path] = file })
}

const builtConfig = "boot/config-6.12.94+deb13-amd64"

// without has a kernel that was built without an option.
func (m machineWith) without(option string) Facts {
	var kept []string
	for line := range strings.Lines(read(m.t, debian13(m.t), builtConfig)) {
		if !strings.HasPrefix(line, "CONFIG_"+option+"=") {
			kept = append(kept, line)
		}
	}
	return m.file(builtConfig, strings.Join(kept, ""))
}

// gone removes files.
func gone(facts Facts, paths ...string) Facts {
	for _, path := range paths {
		facts = replaced(facts, path, "")
	}
	return facts
}

// Every check has a case in which it finds its fault, and names a remedy.
func TestEveryCheckCanFail(t *testing.T) {
	found := map[string]bool{}
	for _, group := range []struct {
		name  string
		cases func(machineWith) []checkCase
	}{
		{"host", hostCases},
		{"rootfs", rootfsCases},
		{"kernel", kernelCases},
		{"userns", usernsCases},
		{"devices", devicesCases},
		{"network", networkCases},
		{"storage", storageCases},
		{"engine", engineCases},
		{"github", githubCases},
		{"image", imageCases},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.cases(machineWith{t}) {
				i := slices.IndexFunc(every(), func(check Check) bool { return check.ID == test.id })
				if i < 0 {
					t.Fatalf("no check %s", test.id)
				}
				outcome := every()[i].Run(test.facts)
				if outcome.Status != test.status || !strings.Contains(outcome.Observed, test.observed) {
					t.Errorf("%s: %s %q, want %s %q", test.id, outcome.Status, outcome.Observed, test.status, test.observed)
				}
				if (outcome.Status == Fail || outcome.Status == Warn) && outcome.Remedy.Text == "" {
					t.Errorf("%s: %s without a remedy, want one", test.id, outcome.Status)
				}
				found[test.id] = found[test.id] || test.status == Fail || test.status == Warn
			}
		})
	}
	t.Run("no check is left out", func(t *testing.T) {
		for _, check := range every() {
			if !found[check.ID] {
				t.Errorf("%s has no failing case, want one at least", check.ID)
			}
		}
	})
}

func hostCases(m machineWith) []checkCase {
	return []checkCase{
		{"host.os", m.change(func(f *Facts) { f.Client.OS = "darwin" }), Fail, "macOS has no Linux kernel"},
		{"host.machine", m.change(func(f *Facts) { f.Engine.System = "Docker Desktop" }), Fail, "Docker Desktop's VM"},
		{"host.machine", m.change(func(f *Facts) { f.Engine.Kernel = "5.15.153.1-microsoft-standard-WSL2" }), Fail, "WSL"},
		{"host.memory", m.change(func(f *Facts) { f.Wanted.Count = 3 }), Warn, "3 × 4096 MiB needed, 8192 MiB available"},
		{"host.cpus", m.change(func(f *Facts) { f.Wanted.Count = 9 }), Warn, "9 × 2 needed, 2 available"},
		{"host.clock", m.change(func(f *Facts) { f.Engine.Skew = -2 * time.Minute }), Warn, "differ by 2m0s"},
	}
}

func rootfsCases(m machineWith) []checkCase {
	return []checkCase{
		{"rootfs.buildx", m.change(func(f *Facts) { f.Rootfs.Buildx = "distribution" }), Warn, "the distribution's buildx"},
	}
}

func kernelCases(m machineWith) []checkCase {
	return []checkCase{
		{"kernel.version", m.change(func(f *Facts) { f.Engine.Kernel = "5.10.0-28-amd64" }), Fail, "5.10.0-28-amd64"},
		{"kernel.namespaces", gone(m.without("USER_NS"), "proc/1/uid_map"), Fail, "CONFIG_USER_NS"},
		{"kernel.seccomp", gone(m.without("SECCOMP_FILTER"), "proc/sys/kernel/seccomp/actions_avail"), Fail, "CONFIG_SECCOMP_FILTER"},
		{"kernel.overlay", gone(debian13(m.t), "sys/module/overlay", "proc/modules", "proc/filesystems"), Warn, "not loaded: overlay"},
		{"kernel.overlay", gone(m.without("OVERLAY_FS"), "sys/module/overlay", "proc/modules", "proc/filesystems"), Fail, "CONFIG_OVERLAY_FS"},
		{"kernel.overlay", gone(debian13(m.t), builtConfig, "sys/module/overlay", "proc/modules", "proc/filesystems"), Skip, "no kernel configuration"},
		{"kernel.bridge", gone(m.without("VETH"), "proc/modules"), Fail, "CONFIG_VETH"},
		{"kernel.bridge", gone(debian13(m.t), "sys/module/bridge", "proc/modules"), Pass, "bridge, veth"},
		{"kernel.tun", gone(m.without("TUN"), "dev/net/tun"), Fail, "CONFIG_TUN"},
		{"kernel.nat", gone(debian13(m.t), "proc/modules"), Warn, "not loaded: nf_tables, nft_compat"},
		{"kernel.nat", m.file("proc/modules", "ip_tables 1 0 - Live 0x0\niptable_nat 1 0 - Live 0x0\nnf_conntrack 1 0 - Live 0x0\nxt_addrtype 1 0 - Live 0x0\nxt_MASQUERADE 1 0 - Live 0x0\n"), Pass, "ip_tables"},
		{"kernel.nat", gone(m.without("NF_CONNTRACK"), "proc/modules"), Fail, "CONFIG_NF_CONNTRACK"},
		{"kernel.inotify", m.change(func(f *Facts) { f.Wanted.Count = 200 }), Warn, "fs.inotify.max_user_instances = 8192, fs.inotify.max_user_watches = 655360 for 200 runners"},
		{"kernel.inotify", m.file("proc/sys/fs/inotify/max_user_watches", "524288\n"), Warn, "max_user_watches = 524288 for 1 runner"},
		{"kernel.inotify", m.file("proc/sys/fs/inotify/max_user_instances", "128\n"), Warn, "max_user_instances = 128"},
		{"kernel.maps", m.file("proc/sys/vm/max_map_count", "65530\n"), Warn, "vm.max_map_count = 65530"},
		{"kernel.maps", m.file("proc/sys/vm/max_map_count", ""), Skip, "can't be read"},
		{"kernel.keys", m.change(func(f *Facts) { f.Wanted.Count = 26 }), Warn, "kernel.keys.maxkeys = 200, kernel.keys.maxbytes = 20000 for 26 runners"},
		{"kernel.keys", replaced(m.file("proc/sys/kernel/keys/maxkeys", "2000\n"), "proc/sys/kernel/keys/maxbytes", "100\n"), Warn, "maxbytes = 100"},
		{"kernel.keys", m.file("proc/sys/kernel/keys/maxkeys", ""), Skip, "can't be read"},
		{"kernel.inotify", m.file("proc/sys/fs/inotify/max_user_instances", ""), Skip, "can't be read"},
		{"kernel.pipes", m.change(func(f *Facts) { f.Wanted.Count = 40 }), Warn, "16384 for 40 runners"},
		{"kernel.pipes", m.file("proc/sys/fs/pipe-user-pages-soft", "0\n"), Pass, "no limit"},
	}
}

func usernsCases(m machineWith) []checkCase {
	return []checkCase{
		{"userns.max", m.file("proc/sys/user/max_user_namespaces", "0\n"), Fail, "0 allowed"},
		{"userns.max", m.file("proc/sys/user/max_user_namespaces", "100\n"), Warn, "100 allowed"},
		{"userns.max", m.file("proc/sys/user/max_user_namespaces", ""), Fail, "no user namespaces"},
		{"userns.clone", m.file("proc/sys/kernel/unprivileged_userns_clone", "0\n"), Fail, "= 0"},
		{"userns.apparmor", m.file("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"), Fail, "restricted"},
		{"userns.apparmor", replaced(m.file("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"), "sys/kernel/security/apparmor/profiles", "runnerctl-runner (enforce)\n"), Pass, "allows it"},
		{"userns.engine", m.change(func(f *Facts) { f.Engine.SecurityOptions = []string{"name=seccomp", "name=rootless"} }), Fail, "rootless"},
		{"userns.engine", m.change(func(f *Facts) { f.Engine.SecurityOptions = []string{"name=seccomp", "name=userns"} }), Fail, "userns-remap"},
		{"userns.ids", m.file("proc/1/uid_map", "0 100000 65536\n"), Fail, "too few ids: 0 100000 65536"},
		{"userns.ids", m.file("proc/1/uid_map", "0 1000000 1000000000\n"), Pass, "enough"},
		{"userns.ids", replaced(m.change(func(f *Facts) { f.Wanted.IDs = 1 << 31 }), "proc/1/uid_map", "0 1000000 1000000000\n"), Fail, "too few ids"},
		{"userns.ids", m.file("proc/1/uid_map", "0 1000 1\n1 100000 65536\n"), Fail, "too few"},
		{"userns.ids", m.file("proc/1/uid_map", ""), Skip, "can't be read"},
	}
}

func devicesCases(m machineWith) []checkCase {
	return []checkCase{
		{"devices.tun", m.file("dev/net/tun", ""), Fail, "missing"},
		{"devices.tun", chmod(debian13(m.t), "dev/net/tun", 0o600), Fail, "mode 0600"},
		{"devices.tun", chmod(debian13(m.t), "dev/net/tun", 0o660), Fail, "mode 0660"},
		{"devices.wanted", m.change(func(f *Facts) { f.Wanted.Devices = []string{"fuse", "kvm"} }), Fail, "missing: /dev/kvm"},
		{"devices.wanted", chmod(m.change(func(f *Facts) { f.Wanted.Devices = []string{"fuse"} }), "dev/fuse", 0o600), Fail, "/dev/fuse has mode 0600"},
		{"devices.wanted", m.change(func(f *Facts) { f.Wanted.Devices = []string{"fuse"} }), Pass, "/dev/fuse"},
	}
}

func networkCases(m machineWith) []checkCase {
	return []checkCase{
		{"network.forwarding", m.file("proc/sys/net/ipv4/ip_forward", "0\n"), Fail, "= 0"},
		{"network.forwarding", m.change(func(f *Facts) { f.Machine.OwnNetwork = false }), Skip, "the engine uses a different one"},
		{"network.iptables", m.file("proc/1/net/ip_tables_names", "nat\nfilter\n"), Warn, "filter, nat"},
		{"network.iptables", replaced(m.file("proc/1/net/ip_tables_names", "filter\n"), "proc/modules", ""), Pass, "legacy tables: filter"},
		{"network.mtu", m.file("sys/class/net/ens3/mtu", "1400\n"), Warn, "1500, but the uplink ens3 has 1400"},
		{"network.mtu", m.file("proc/1/net/route", ""), Pass, "no uplink"},
		{"network.mtu", m.change(func(f *Facts) { f.Engine.Networks = nil }), Skip, "no default bridge"},
		{"network.pools", m.change(func(f *Facts) { f.Wanted.Pool = netip.Prefix{} }), Fail, "no free block"},
		{"network.routes", m.file("proc/1/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\nenp0s3 0002000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"), Pass, "none is hidden"},
		{"network.routes", m.file("proc/1/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\nens3 0000FEA9 00000000 0001 0 0 0 0000FFFF 0 0 0\n"), Pass, "none is hidden"},
		{"network.routes", m.file("proc/1/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\nbr0 00D5FEA9 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"), Warn, "169.254.213.0/24 (br0)"},
		{"network.egress", m.change(func(f *Facts) { f.Engine.Networks = f.Engine.Networks[1:] }), Fail, "no default bridge"},
		{"network.egress", m.change(func(f *Facts) { f.Container.Way = Way{} }), Skip, "offline"},
		{"network.egress", m.change(func(f *Facts) { f.Container.Way.Target = "" }), Pass, "a DNS server"},
		{"network.egress", m.change(func(f *Facts) { f.Container.Way.Reached, f.Container.FromHost = false, &Way{Target: "github.com:443"} }), Warn, "nor the machine itself reaches github.com:443"},
		{"network.egress", m.change(func(f *Facts) {
			f.Container.Way.Reached, f.Container.FromHost = false, &Way{Target: "github.com:443", Reached: true}
		}), Fail, "the machine reaches github.com:443, a container does not"},
		{"network.egress", m.change(func(f *Facts) {
			f.Engine.Networks[0].Unmasked = true
			f.Container.Way.Reached, f.Container.FromHost = false, &Way{Target: "github.com:443", Reached: true}
		}), Fail, "does not masquerade"},
		{"network.egress", m.change(func(f *Facts) { f.Engine.Networks[0].Unmasked, f.Container.Way.Reached = true, false }), Warn, "does not masquerade"},
		{"network.egress", m.change(func(f *Facts) { f.Engine.Networks[0].Unmasked = true }), Pass, "reaches github.com:443"},
		{"network.dns", m.change(func(f *Facts) { f.Container.Way = Way{} }), Skip, "offline"},
		{"network.dns", m.change(func(f *Facts) { f.Container.Way.Servers = nil }), Skip, "containers get no DNS server"},
		{"network.dns", m.change(func(f *Facts) { f.Container.Way.Servers = []string{"2001:db8::53"} }), Fail, "IPv6 only: 2001:db8::53"},
		{"network.dns", m.change(func(f *Facts) {
			f.Container.Way.Answers, f.Container.FromHost = nil, &Way{Answers: map[string]bool{"192.0.2.53": true}}
		}), Skip, "don't reach the DNS servers"},
		{"network.dns", m.change(func(f *Facts) { f.Container.Way.Answers = nil }), Warn, "none answers: 192.0.2.53"},
		{"network.dns", m.change(func(f *Facts) { f.Container.Way.Servers = []string{"192.0.2.1", "192.0.2.53"} }), Warn, "the first one, 192.0.2.1, does not answer"},
		{"network.dns", m.change(func(f *Facts) {
			f.Container.Way.Servers, f.Container.Way.Answers = []string{"2001:db8::53", "192.0.2.1"}, map[string]bool{"2001:db8::53": true}
		}), Fail, "none with an IPv4 address answers: 192.0.2.1"},
		{"network.icc", m.change(func(f *Facts) { f.Engine.Networks[0].Apart = true }), Warn, `"icc": false`},
		{"network.routes", m.file("proc/1/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\ntun0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n"), Warn, "10.0.0.0/8 (tun0)"},
		{"network.metadata", m.change(func(f *Facts) { f.Container.Metadata = true }), Warn, "169.254.169.254:80 answers"},
		{"network.metadata", m.change(func(f *Facts) { f.Container.Metadata, f.Container.Nowhere = true, true }), Skip, "every address"},
		{"network.registry", m.change(func(f *Facts) { f.Registry.Problems = map[string]string{"debian:trixie-slim": "no such host"} }), Warn, "debian:trixie-slim: no such host"},
		{"network.registry", m.change(func(f *Facts) { f.Registry.Login = []string{"acme/base"} }), Pass, "answers and requires a login (acme/base)"},
	}
}

func storageCases(m machineWith) []checkCase {
	return []checkCase{
		{"storage.driver", m.change(func(f *Facts) { f.Engine.StorageDriver = "vfs" }), Fail, "vfs"},
		{"storage.driver", m.change(func(f *Facts) { f.Engine = containerdStore(f.Engine, "native") }), Fail, "native, of the containerd store"},
		{"storage.driver", m.change(func(f *Facts) { f.Engine.StorageDriver = "btrfs" }), Warn, "btrfs"},
		{"storage.driver", m.change(func(f *Facts) { f.Engine = containerdStore(f.Engine, "overlayfs") }), Pass, "overlayfs, of the containerd store: images are in containerd's root, the runners' volumes in /var/lib/docker"},
		{"storage.filesystem", m.file("proc/1/mountinfo", "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /var/lib/docker rw - tmpfs tmpfs rw\n"), Fail, "tmpfs: files of runners"},
		{"storage.filesystem", m.file("proc/1/mountinfo", "1 0 0:1 / / rw - overlay overlay rw\n"), Fail, "overlay"},
		{"storage.filesystem", m.file("proc/1/mountinfo", "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /var/lib/docker rw - nfs4 nas:/x rw\n"), Fail, "nfs4"},
		{"storage.filesystem", m.file("proc/1/mountinfo", "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /var/lib/docker rw - zfs tank rw\n"), Warn, "zfs"},
		{"storage.filesystem", m.change(func(f *Facts) {
			f.Engine.StorageStatus = map[string]string{"Backing Filesystem": "xfs", "Supports d_type": "false"}
		}), Fail, "without d_type"},
		{"storage.filesystem", m.change(func(f *Facts) { f.Machine, f.Engine.StorageStatus = Machine{}, nil }), Skip, "does not report it"},
		{"cache.space", m.change(func(f *Facts) { f.Wanted.Cache, f.Space.Free = 50<<30, 40<<30 }), Warn, "40 GiB free in /var/lib/docker, 50 GiB for the cache"},
		{"cache.space", m.change(func(f *Facts) { f.Wanted.Cache, f.Space.Free, f.Cache.Exists = 50<<30, 40<<30, true }), Pass, "40 GiB free"},
		{"cache.space", m.change(func(f *Facts) { f.Wanted.Cache = 0 }), Pass, "cache.size is 0"},
		{"cache.runs", m.change(func(f *Facts) { f.Wanted.Cache = 0 }), Pass, "cache.size is 0"},
		{"cache.runs", m.change(func(f *Facts) { f.Wanted.Cache = 1 << 30 }), Skip, "up starts it"},
		{"cache.runs", m.change(func(f *Facts) { f.Wanted.Cache, f.Cache = 1<<30, Cache{Exists: true, ExitCode: 1} }), Warn, "not running (exit code 1)"},
		{"cache.runs", m.change(func(f *Facts) { f.Wanted.Cache, f.Cache = 1<<30, Cache{Exists: true, Running: true, Restarts: 3} }), Warn, "restarted 3 times"},
		{"cache.runs", m.change(func(f *Facts) { f.Wanted.Cache, f.Cache = 1<<30, Cache{Exists: true, Running: true} }), Pass, "running"},
		{"cache.reaches", m.change(func(f *Facts) { f.Wanted.Cache = 1 << 30 }), Skip, "does not run"},
		{"cache.reaches", m.change(func(f *Facts) { f.Wanted.Cache, f.Cache.Running = 1<<30, true }), Pass, "all servers answer"},
		{"cache.reaches", m.change(func(f *Facts) {
			f.Wanted.Cache, f.Cache.Running, f.Reach.Problems = 1<<30, true, map[string]string{"ghcr.io": "no such host", "b": "refused"}
		}), Warn, "b: refused; ghcr.io: no such host"},
		{"cache.clock", m.change(func(f *Facts) { f.Wanted.Cache, f.Cache.Running, f.Reach.Skew = 1<<30, true, -time.Hour }), Warn, "differ by 1h0m0s"},
		{"cache.clock", m.change(func(f *Facts) { f.Wanted.Cache, f.Cache.Running = 1<<30, true }), Pass, "agrees"},
		{"cache.clock", m.change(func(f *Facts) { f.Wanted.Cache = 0 }), Pass, "cache.size is 0"},
		{"storage.space", m.change(func(f *Facts) { f.Space.Free = 3 << 30 }), Warn, "3 GiB free"},
		{"storage.inodes", m.change(func(f *Facts) { f.Space.Inodes = 1000 }), Warn, "1000 free"},
		{"storage.inodes", m.change(func(f *Facts) { f.Space.AllInodes = 0 }), Pass, "as needed"},
	}
}

func engineCases(m machineWith) []checkCase {
	return []checkCase{
		{"engine.reachable", m.change(func(f *Facts) { f.EngineErr = errors.New("connection refused") }), Fail, "connection refused"},
		{"engine.reachable", m.change(func(f *Facts) { f.EngineErr = errors.New("dial: permission denied") }), Fail, "permission denied"},
		{"engine.reachable", m.change(func(f *Facts) { f.EngineErr = RefuseLocal("darwin", "") }), Skip, "not asked"},
		{"engine.version", m.change(func(f *Facts) { f.Engine.Version = "19.03.15" }), Fail, "19.03.15"},
		{"engine.version", m.change(func(f *Facts) { f.Engine.LiveRestore = true }), Pass, "runners keep running"},
		{"engine.containers", m.change(func(f *Facts) {
			f.NoContainer = errors.New("probe container: runc: unable to apply caps: operation not permitted")
		}), Fail, "unable to apply caps"},
		{"engine.containers", m.change(func(f *Facts) { f.Container.Mounts = "1 0 0:1 / / rw master:5 - overlay overlay rw\n" }), Pass, "its root is slave, the machine's shared (\"Setting child propagation to rslave"},
		{"engine.containers", m.change(func(f *Facts) { f.Machine = Machine{} }), Pass, "its root is private"},
		{"engine.seccomp", m.change(func(f *Facts) { f.Engine.SecurityOptions = nil }), Fail, "no seccomp"},
		{"engine.cgroup", m.change(func(f *Facts) { f.Engine.Warnings = []string{"WARNING: No memory limit support"} }), Warn, "cgroup v2, systemd; No memory limit support"},
		{"engine.cgroup", m.change(func(f *Facts) { f.Engine.CgroupDriver = "none" }), Warn, "none"},
		{"engine.lsm", m.change(func(f *Facts) { f.Engine.SecurityOptions = []string{"name=seccomp,profile=builtin", "name=selinux"} }), Warn, "SELinux"},
		{"engine.capabilities", m.file("proc/1/status", "CapBnd:\t00000000a80425fb\n"), Fail, "SYS_ADMIN"},
		{"engine.capabilities", m.file("proc/1/status", "CapBnd:\t000001fffeffffff\n"), Pass, "it lacks SYS_RESOURCE"},
		{"engine.limits", replaced(m.change(func(f *Facts) { f.Machine.Limits = limitsOf("20000", "8388608") }), "proc/1/status", "CapBnd:\t000001fffeffffff\n"), Warn, "jobs can't use --ulimit nofile above 20000, nor memlock above 8388608"},
		{"engine.limits", replaced(m.change(func(f *Facts) { f.Machine.Limits, f.Container.Limits = "", "" }), "proc/1/status", "CapBnd:\t000001fffeffffff\n"), Skip, "can't be read"},
		{"engine.limits", replaced(m.change(func(f *Facts) { f.Machine.Limits = "" }), "proc/1/status", "CapBnd:\t000001fffeffffff\n"), Warn, "memlock above 8388608"},
		{"engine.limits", m.file("proc/sys/fs/nr_open", "65536\n"), Warn, "--ulimit nofile=1048576 fails"},
		{"engine.limits", m.change(func(f *Facts) { f.Container.Limits = limitsOf("1024", "8388608") }), Pass, "nofile 1024, the engine's default"},
		{"engine.capabilities", m.file("proc/1/status", ""), Skip, "can't be read"},
		{"engine.runtime", m.change(func(f *Facts) { f.Wanted.Runtime = "sysbox-runc" }), Fail, "no runtime sysbox-runc (it has io.containerd.runc.v2, runc)"},
		{"engine.runtime", m.change(func(f *Facts) { f.Wanted.Runtime = "runc" }), Pass, "runc"},
	}
}

func githubCases(m machineWith) []checkCase {
	return []checkCase{
		{"github.reachable", m.change(func(f *Facts) { f.GitHub.Err = errors.New("no such host") }), Fail, "no such host"},
		{"github.clock", m.change(func(f *Facts) { f.GitHub.Skew = time.Hour }), Warn, "differ by 1h"},
		{"github.clock", m.change(func(f *Facts) { f.GitHub.Err = errors.New("no such host") }), Skip, "does not answer"},
		{"github.token", m.change(func(f *Facts) { f.GitHub.Token = errors.New("no token for acme/api") }), Fail, "no token"},
		{"github.token", m.change(func(f *Facts) { f.GitHub.Untried = errors.New("GitHub answered 502 Bad Gateway") }), Warn, "not tried: GitHub answered 502"},
		{"github.agent", m.change(func(f *Facts) { f.GitHub.Agent.Err = errors.New("GitHub answered 500") }), Skip, "answered 500"},
		{"github.token", m.change(func(f *Facts) { f.GitHub.Err = errors.New("no such host") }), Skip, "does not answer"},
		{"github.agent", m.change(func(f *Facts) { f.GitHub.Agent = agent(-1) }), Fail, "2.300.0 gets no jobs since 2026-01-31"},
		{"github.agent", m.change(func(f *Facts) { f.GitHub.Agent = agent(5) }), Warn, "2.300.0 gets no jobs from 2026-02-06 on"},
		{"github.agent", m.change(func(f *Facts) { f.GitHub.Agent = agent(40) }), Pass, "good until 2026-03-13"},
		{"github.agent", m.change(func(f *Facts) { f.GitHub.Agent.Version = "" }), Skip, "no image"},
		{"github.agent", m.change(func(f *Facts) { f.GitHub.Agent = Agent{} }), Skip, "can't be read"},
		{"github.proxy", m.change(func(f *Facts) { f.Client.Proxy = map[string]string{"HTTPS_PROXY": "http://proxy:3128"} }), Warn, "the engine none"},
		{"github.proxy", m.change(func(f *Facts) { f.Engine.Proxy = map[string]string{"HTTPS_PROXY": "http://proxy:3128"} }), Warn, "runnerctl none"},
	}
}

func imageCases(m machineWith) []checkCase {
	return []checkCase{
		{"image.subids", m.image("etc/subuid", File{Text: "runner:100000:65536\nrunner:100000:65536\n"}), Fail, "100000:65536 is there twice in [0 1001 1 1 100000 65536 65537 100000 65536]"},
		{"image.subids", m.image("etc/subuid", File{Text: "runner:100000:65536\n1001:120000:65536\n"}), Fail, "100000:65536 and 120000:65536 overlap in [0 1001 1 1 100000 65536 65537 120000 65536]"},
		{"image.subids", m.image("etc/subgid", File{Text: "runner:1000:65536\n"}), Fail, "/etc/subgid: runner: 1000:65536 holds the user's own id 1001 in [0 1001 1 1 1000 65536]"},
		{"image.subids", m.image("etc/subuid", File{Text: "runner:100000:1000\n"}), Fail, "1000 ids, 65534 are needed"},
		{"image.subids", m.image("etc/subuid", File{Text: "runner:1002:64534\nrunner:1:1000\n"}), Pass, "runner: 65534 ids in [0 1001 1 1 1002 64534 64535 1 1000]"},
		{"image.subids", m.image("etc/subuid", File{Text: "runner:4294967000:65536\n"}), Fail, "beyond the last id"},
		{"image.subids", m.image("etc/subuid", File{Text: "root:100000:65536\nrunner:100000:65536\n"}), Warn, "/etc/subuid: root and runner share ids: [0 0 1 1 100000 65536] and [0 1001 1 1 100000 65536]"},
		{"image.subids", m.change(func(f *Facts) { f.Image.Files = nil }), Skip, "no user"},
		{"image.newuidmap", m.image("usr/bin/newuidmap", File{Mode: fs.ModeSetuid | 0o755}), Fail, "/usr/bin/newuidmap is setuid root"},
		{"image.newuidmap", m.image("usr/bin/newgidmap", File{Mode: 0o755, Capabilities: capabilities(capSetuid)}), Fail, "has no cap_setgid+ep"},
		{"image.newuidmap", m.change(func(f *Facts) { delete(f.Image.Files, "usr/bin/newgidmap") }), Fail, "no newgidmap"},
		{"image.newuidmap", m.change(func(f *Facts) { f.Image.Files = nil }), Skip, "neither exists"},
		{"image.setuid", m.image("usr/bin/su", File{Mode: fs.ModeSetuid | 0o755}), Warn, "1: /usr/bin/su (setuid)"},
		{"image.setuid", m.image("rootfs/usr/bin/su", File{Mode: fs.ModeSetuid | 0o755}), Warn, "/rootfs/usr/bin/su (setuid)"},
		{"image.setuid", m.image("usr/bin/ping", File{Mode: 0o755, Capabilities: capabilities(13)}), Warn, "/usr/bin/ping (capabilities)"},
		{"image.libc", m.image("lib/ld-musl-x86_64.so.1", File{Mode: 0o755}), Warn, "musl"},
		{"image.libc", m.image("usr/lib/ld-musl-x86_64.so.1", File{Mode: 0o755}), Warn, "musl"}, // Alpine with a merged /usr
		{"image.libc", m.image("rootfs/lib/ld-musl-aarch64.so.1", File{Mode: 0o755}), Warn, "musl"},
		{"image.libc", m.change(func(f *Facts) {
			f.Image.Files["usr/lib/ld-musl-x86_64.so.1"], f.Image.Files["usr/lib/x86_64-linux-gnu/libc.so.6"] = File{Mode: 0o755}, File{Mode: 0o755} // Debian's package musl
		}), Pass, "not based on musl alone"},
		{"image.tools", m.change(func(f *Facts) { delete(f.Image.Files, "usr/bin/slirp4netns") }), Warn, "missing: slirp4netns or pasta or vpnkit"},
		{"image.tools", m.change(func(f *Facts) { f.Image.Files = nil }), Skip, "no dockerd"},
	}
}

// containerdStore is an engine that leaves images to containerd.
func containerdStore(engine Engine, snapshotter string) Engine {
	engine.StorageDriver, engine.StorageStatus = snapshotter, map[string]string{"driver-type": "io.containerd.snapshotter.v1"}
	return engine
}

// agent that gets no jobs any more in so many days.
func agent(days int) Agent {
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	return Agent{Version: "2.300.0", Newest: "2.330.0", Now: now, Deprecated: now.AddDate(0, 0, days)}
}

// Differences of other systems, as far as their sources document them, and the results of
// the checks in question.
func TestOtherSystems(t *testing.T) {
	tests := []struct {
		system string
		id     string
		change func(Facts) Facts
		status Status
	}{
		// Kernel 5.15, AppArmor without the restriction: github.com/ScribeMD/rootless-docker/issues/401 (rootless Docker comes up on 22.04, not on 24.04).
		{"Ubuntu 22.04", "kernel.version", kernel("5.15.0-124-generic"), Pass},
		{"Ubuntu 22.04", "userns.apparmor", content("proc/sys/kernel/apparmor_restrict_unprivileged_userns", ""), Pass},
		// The restriction is on by default: github.com/moby/moby/issues/47480. Kernel 6.8: github.com/canonical/lxd/issues/13389.
		{"Ubuntu 24.04", "kernel.version", kernel("6.8.0-31-generic"), Pass},
		{"Ubuntu 24.04", "userns.apparmor", content("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"), Fail},
		// Kernel 4.14: github.com/amazonlinux/container-images/issues/41. cgroup v1: docs.aws.amazon.com/linux/al2023/ug/cgroupv2.html.
		{"Amazon Linux 2", "kernel.version", kernel("4.14.154-128.181.amzn2.x86_64"), Fail},
		{"Amazon Linux 2", "engine.cgroup", cgroup("1", "cgroupfs"), Pass},
		// cgroup v2: the same page. Docker by systemd: github.com/aws/amazon-ecs-ami/issues/121. SELinux is permissive, and Docker's own
		// support of it off unless asked for: docs.aws.amazon.com/linux/al2023/ug/default-SELinux-modes-states.html.
		{"Amazon Linux 2023", "kernel.version", kernel("6.1.91-99.172.amzn2023.x86_64"), Pass},
		{"Amazon Linux 2023", "engine.cgroup", cgroup("2", "systemd"), Pass},
		{"Amazon Linux 2023", "engine.lsm", security("name=seccomp,profile=builtin", "name=cgroupns"), Pass},
		// Kernel 5.14: github.com/Mirantis/cri-dockerd/issues/368. cgroup v2: docs.redhat.com, "Considerations in adopting RHEL 9", 6.1.
		// User namespaces are on since RHEL 8: github.com/nix-community/nix-user-chroot/issues/91.
		{"RHEL 9", "kernel.version", kernel("5.14.0-362.8.1.el9_3.x86_64"), Pass},
		{"RHEL 9", "engine.cgroup", cgroup("2", "systemd"), Pass},
		{"RHEL 9", "userns.clone", content("proc/sys/kernel/unprivileged_userns_clone", ""), Pass},
		{"RHEL 9", "engine.lsm", security("name=seccomp,profile=builtin", "name=selinux", "name=cgroupns"), Warn},
		// The same issue: RHEL 7 has user namespaces, and allows none.
		{"RHEL 7", "userns.max", content("proc/sys/user/max_user_namespaces", "0\n"), Fail},
		// Linux docker-desktop 6.5.11-linuxkit: github.com/docker/for-mac/issues/7108. No AppArmor is in its `docker info`.
		{"Docker Desktop", "host.machine", func(f Facts) Facts {
			f.Engine.System, f.Engine.Name, f.Engine.Kernel, f.Local = "Docker Desktop", "docker-desktop", "6.5.11-linuxkit", false
			return f
		}, Fail},
		// Closed to all but root: github.com/docker/for-win/issues/4627.
		{"Docker Desktop", "devices.tun", func(f Facts) Facts { return chmod(f, "dev/net/tun", 0o600) }, Fail},
		{"Docker Desktop", "kernel.version", kernel("6.5.11-linuxkit"), Pass},
		// Ubuntu 22.04 with Docker's own packages in WSL 2: github.com/microsoft/WSL/issues/10497; the suffix: github.com/microsoft/WSL2-Linux-Kernel.
		{"WSL2", "host.machine", kernel("5.15.123.1-microsoft-standard-WSL2"), Fail},
		{"WSL2", "kernel.version", kernel("5.15.123.1-microsoft-standard-WSL2"), Pass},
		// The containerd store by default, and how to detect it: docs.docker.com/engine/storage/containerd, github.com/buildpacks/imgutil/pull/231.
		{"Docker 29", "storage.driver", func(f Facts) Facts { f.Engine = containerdStore(f.Engine, "overlayfs"); return f }, Pass},
		// Bottlerocket allows none: github.com/moby/buildkit, examples/kubernetes/sysctl-userns.privileged.yaml.
		{"Bottlerocket", "userns.max", content("proc/sys/user/max_user_namespaces", "0\n"), Fail},
	}
	for _, test := range tests {
		i := slices.IndexFunc(Catalogue(), func(check Check) bool { return check.ID == test.id })
		if outcome := Catalogue()[i].Run(test.change(debian13(t))); outcome.Status != test.status {
			t.Errorf("%s: %s: %s %q, want %s", test.system, test.id, outcome.Status, outcome.Observed, test.status)
		}
	}
}

func kernel(version string) func(Facts) Facts {
	return func(f Facts) Facts { f.Engine.Kernel = version; return f }
}

func cgroup(version, driver string) func(Facts) Facts {
	return func(f Facts) Facts { f.Engine.Cgroup, f.Engine.CgroupDriver = version, driver; return f }
}

func security(options ...string) func(Facts) Facts {
	return func(f Facts) Facts { f.Engine.SecurityOptions = options; return f }
}

func content(path, text string) func(Facts) Facts {
	return func(f Facts) Facts { return replaced(f, path, text) }
}

func TestRefuseLocal(t *testing.T) {
	tests := []struct {
		os, endpoint string
		refused      bool
	}{
		{"linux", "unix:///var/run/docker.sock", false},
		{"darwin", "unix:///Users/a/.docker/run/docker.sock", true},
		{"darwin", "", true},
		{"darwin", "ssh://user@vm", false},
		{"darwin", "tcp://10.0.0.5:2376", false},
		{"windows", "npipe:////./pipe/docker_engine", true},
		{"windows", "ssh://user@vm", false},
	}
	for _, test := range tests {
		if err := RefuseLocal(test.os, test.endpoint); (err != nil) != test.refused {
			t.Errorf("%s %s: error %v, want refused: %t", test.os, test.endpoint, err, test.refused)
		}
	}
}
