package doctor

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var kernelChecks = []Check{
	{ID: "kernel.version", Title: "kernel", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine, Run: kernelVersion,
		Why: "overlayfs can be mounted in a user namespace since 5.11"},
	{ID: "kernel.namespaces", Title: "user namespaces in the kernel", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine,
		Run: features(feature{"USER_NS", "", "proc/1/uid_map", false}), // an engine that answers has the other namespaces
		Why: "the user namespace makes a runner's root an unprivileged user on the host"},
	{ID: "kernel.seccomp", Title: "seccomp filters", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine,
		Run: features(feature{"SECCOMP_FILTER", "", "proc/sys/kernel/seccomp/actions_avail", false}),
		Why: "runners get a profile of their own, part of the security model"},
	{ID: "kernel.overlay", Title: "overlayfs", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine,
		Run: features(feature{"OVERLAY_FS", "overlay", "sys/module/overlay", false}),
		Why: "without it, the inner daemon copies whole layers (vfs); a user namespace can't load modules"},
	{ID: "kernel.bridge", Title: "bridge and veth", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine,
		Run: features(feature{"BRIDGE", "bridge", "sys/module/bridge", true}, feature{"VETH", "veth", "sys/module/veth", true}),
		Why: "the inner daemon's networks need them; a user namespace can't load modules"},
	{ID: "kernel.tun", Title: "tun", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine,
		Run: features(feature{"TUN", "tun", "dev/net/tun", true}),
		Why: "the runner's own network (slirp4netns, pasta) is a tun device"},
	{ID: "kernel.nat", Title: "packet filter", Group: "Kernel", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine, Run: kernelNAT,
		Why: "the inner daemon publishes ports and masquerades with iptables, on nf_tables or the older ip_tables"},
	{ID: "kernel.inotify", Title: "inotify", Group: "Kernel", Severity: Advice, Needs: NeedsMachine, Run: kernelInotify,
		Why: "inotify limits apply per user, and all runners of a machine are one user there: at the limit, watchers fail with \"too many open files\""},
	{ID: "kernel.maps", Title: "memory maps", Group: "Kernel", Severity: Advice, Needs: NeedsMachine, Run: kernelMaps,
		Why: "Elasticsearch and others refuse to start below 262144, and a job can't raise it"},
	{ID: "kernel.keys", Title: "keys", Group: "Kernel", Severity: Advice, Needs: NeedsMachine, Run: kernelKeys,
		Why: "keys are counted per user, and all runners of a machine are one user there: at the limit, programs that request a key get \"disk quota exceeded\""},
	{ID: "kernel.pipes", Title: "pipe buffers", Group: "Kernel", Severity: Advice, Needs: NeedsMachine, Run: kernelPipes,
		Why: "pipe buffers are counted per user, and all runners of a machine are one user there: beyond the limit, new pipes shrink to one page and builds slow down"},
}

func kernelVersion(f Facts) Outcome {
	major, minor := version(f.Engine.Kernel)
	if major < 5 || major == 5 && minor < 11 {
		return Outcome{Fail, f.Engine.Kernel, advice("use kernel 5.11 or newer, as in Debian 12, Ubuntu 22.04, Amazon Linux 2023 and RHEL 9")}
	}
	return pass("%s", f.Engine.Kernel)
}

var versionPattern = regexp.MustCompile(`^v?(\d+)\.(\d+)`)

func version(text string) (major, minor int) {
	parts := versionPattern.FindStringSubmatch(text)
	if parts == nil {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[1]) // the pattern matches digits only
	minor, _ = strconv.Atoi(parts[2])
	return major, minor
}

// feature is a part of the kernel: its option, its module if it may be one, and a path below
// the machine's root that exists if the kernel has it.
type feature struct {
	option, module, trace string
	onDemand              bool // starting a runner's own container loads it
}

// presence is the state of a feature.
type presence int

const (
	unknown  presence = iota // no configuration to read, and no trace
	absent                   // the configuration excludes it
	loadable                 // a module that is not loaded
	there                    // built in, loaded, or seen at work
)

// features returns a check of all these features. It fails if one is absent, and warns of
// modules that are not loaded.
func features(all ...feature) func(Facts) Outcome {
	return func(f Facts) Outcome {
		config := kernelConfig(f)
		var missing, unloaded, unseen, fine []string
		var fixes []Fix
		for _, one := range all {
			switch here := one.presence(f, config); {
			case here == there, here == loadable && one.onDemand:
				fine = append(fine, strings.ToLower(one.option))
			case here == absent:
				missing = append(missing, "CONFIG_"+one.option)
			case here == loadable:
				unloaded = append(unloaded, one.module)
				fixes = append(fixes, module(one.module))
			case here == unknown:
				unseen = append(unseen, "CONFIG_"+one.option)
			}
		}
		switch {
		case len(missing) > 0:
			return Outcome{Fail, "the kernel is built without " + strings.Join(missing, ", "), advice("use a kernel with it, like the kernels of Debian, Ubuntu, Amazon Linux 2023 and RHEL 9")}
		case len(unloaded) > 0:
			return Outcome{Warn, "not loaded: " + strings.Join(unloaded, ", "), fix("load it at each boot", fixes...)}
		case len(unseen) > 0:
			return skip("no trace of " + strings.Join(unseen, ", ") + ", and no kernel configuration to read")
		}
		return pass("%s", strings.Join(fine, ", "))
	}
}

func (one feature) presence(f Facts, config map[string]string) presence {
	if _, err := fs.Stat(f.Machine.Root, one.trace); err == nil {
		return there
	}
	if one.module != "" && (loadedModules(f)[one.module] || fileSystems(f)[one.module]) {
		return there
	}
	switch value := config["CONFIG_"+one.option]; {
	case value == "y":
		return there
	case value == "m":
		return loadable
	case len(config) > 0:
		return absent
	}
	return unknown
}

// kernelConfig returns the kernel's own configuration, or its distribution's copy. It is empty
// if neither can be read.
func kernelConfig(f Facts) map[string]string {
	config := map[string]string{}
	text, err := fs.ReadFile(f.Machine.Root, "proc/config.gz")
	if err == nil {
		if unpacked, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
			text, _ = io.ReadAll(unpacked) // after an error, use the text before it
		}
	} else if text, err = fs.ReadFile(f.Machine.Root, "boot/config-"+f.Engine.Kernel); err != nil {
		return config
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "CONFIG_") {
			config[name] = value
		}
	}
	return config
}

func loadedModules(f Facts) map[string]bool {
	return words(f.Machine.Root, "proc/modules", func(fields []string) string { return fields[0] })
}

func fileSystems(f Facts) map[string]bool {
	return words(f.Machine.Root, "proc/filesystems", func(fields []string) string { return fields[len(fields)-1] })
}

func words(root fs.FS, path string, pick func([]string) string) map[string]bool {
	all := map[string]bool{}
	text, err := fs.ReadFile(root, path)
	if err != nil {
		return all
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 {
			all[pick(fields)] = true
		}
	}
	return all
}

// The two packet filters, and the features that either needs. A filter's many extensions are
// left out, because their names change between kernels.
var (
	nfTables = []feature{{"NF_TABLES", "nf_tables", "sys/module/nf_tables", false}, {"NFT_COMPAT", "nft_compat", "sys/module/nft_compat", false}}
	ipTables = []feature{{"IP_NF_IPTABLES", "ip_tables", "sys/module/ip_tables", false}, {"IP_NF_NAT", "iptable_nat", "sys/module/iptable_nat", false}}
	natParts = []feature{{"NF_CONNTRACK", "nf_conntrack", "sys/module/nf_conntrack", false}, {"NETFILTER_XT_MATCH_ADDRTYPE", "xt_addrtype", "sys/module/xt_addrtype", false}, {"NETFILTER_XT_TARGET_MASQUERADE", "xt_MASQUERADE", "sys/module/xt_MASQUERADE", false}}
)

// kernelNAT requires one of the packet filters. If neither is complete it reports on the newer
// one, unless the older one is closer to complete.
func kernelNAT(f Facts) Outcome {
	newer, older := features(slices.Concat(nfTables, natParts)...)(f), features(slices.Concat(ipTables, natParts)...)(f)
	switch {
	case newer.Status == Pass && older.Status == Pass:
		return pass("nf_tables and ip_tables")
	case newer.Status == Pass:
		return pass("nf_tables")
	case older.Status == Pass:
		return pass("ip_tables")
	case newer.Status == Fail:
		return older
	}
	return newer
}

// sysctl reads one setting. ok is false if the kernel has no setting of that name.
func sysctl(f Facts, name string) (value string, ok bool) {
	text, err := fs.ReadFile(f.Machine.Root, "proc/sys/"+strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(string(text)), err == nil
}

// limit is a kernel limit for one user.
type limit struct {
	name      string
	perRunner int
	hosted    int // value on GitHub's machines, which jobs may request by sysctl; 0: irrelevant
	better    int
}

func kernelInotify(f Facts) Outcome {
	// A watcher of a build tool takes one instance, and one watch for every folder of its
	// tree; containerd and dockerd take a few.
	return enough(f, limit{"fs.inotify.max_user_instances", 8, 1280, 8192}, limit{"fs.inotify.max_user_watches", 8192, 655360, 655360})
}

func kernelKeys(f Facts) Outcome {
	// Our seccomp profile denies keys to containers. Containers with another profile take one
	// key each.
	return enough(f, limit{"kernel.keys.maxkeys", 8, 0, 2000}, limit{"kernel.keys.maxbytes", 800, 0, 200_000})
}

func kernelPipes(f Facts) Outcome {
	const pages, pipes = 16, 50 // of a pipe; of a runner at work
	if value, ok := sysctl(f, "fs.pipe-user-pages-soft"); ok && value == "0" {
		return pass("no limit")
	}
	return enough(f, limit{"fs.pipe-user-pages-soft", pages * pipes, 0, pages * pipes * 200})
}

// enough warns of limits that are too low for the wanted runners, or lower than their jobs are
// used to.
func enough(f Facts, limits ...limit) Outcome {
	var observed []string
	var fixes []Fix
	for _, one := range limits {
		text, ok := sysctl(f, one.name)
		value, err := strconv.Atoi(text)
		if !ok || err != nil {
			return skip(one.name + " can't be read")
		}
		observed = append(observed, fmt.Sprintf("%s = %d", one.name, value))
		if needed := max(one.perRunner*f.Wanted.Count, one.hosted); value < needed {
			fixes = append(fixes, setting{one.name, max(one.better, needed), true})
		}
	}
	found := fmt.Sprintf("%s for %d runner%s", strings.Join(observed, ", "), f.Wanted.Count, map[bool]string{false: "s"}[f.Wanted.Count == 1])
	if len(fixes) > 0 {
		return Outcome{Warn, found, fix("raise the limit", fixes...)}
	}
	return pass("%s", found)
}
