package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

var networkChecks = []Check{
	{ID: "network.forwarding", Title: "IP forwarding", Group: "Network", Severity: Mandatory, Needs: NeedsEngine | NeedsMachine, Run: networkForwarding,
		Why: "without it, containers reach nothing beyond the machine"},
	{ID: "network.iptables", Title: "iptables", Group: "Network", Severity: Advice, Needs: NeedsEngine | NeedsMachine, Run: networkIptables,
		Why: "forgotten legacy rules still drop packets that the newer rules accept"},
	{ID: "network.mtu", Title: "MTU of the outer bridge", Group: "Network", Severity: Advice, Needs: NeedsEngine | NeedsMachine, Run: networkMTU,
		Why: "a bridge with a larger MTU than the uplink stalls large packets: TLS hangs, small requests work"},
	{ID: "network.egress", Title: "outbound connections of containers", Group: "Network", Severity: Mandatory, Needs: NeedsEngine | NeedsContainer, Run: networkEgress,
		Why: "a runner reaches the same addresses as any container: GitHub, registries, packages"},
	{ID: "network.dns", Title: "DNS servers of containers", Group: "Network", Severity: Mandatory, Needs: NeedsEngine | NeedsContainer, Run: networkDNS,
		Why: "runners query the servers that the engine gives to containers, by IPv4 and in that order"},
	{ID: "network.icc", Title: "connections between containers", Group: "Network", Severity: Advice, Needs: NeedsEngine, Run: networkICC,
		Why: "jobs can't use a service in another container of this machine, such as a registry's mirror"},
	{ID: "network.pools", Title: "inner addresses", Group: "Network", Severity: Mandatory, Needs: NeedsEngine, Run: networkPools,
		Why: "the inner daemon's networks hide outer networks with the same addresses from jobs"},
	{ID: "network.routes", Title: "the machine's own networks", Group: "Network", Severity: Advice, Needs: NeedsEngine | NeedsMachine, Run: networkRoutes,
		Why: "jobs can't reach hosts whose addresses are in a runner's own networks"},
	{ID: "network.metadata", Title: "cloud metadata service", Group: "Network", Severity: Advice, Needs: NeedsEngine | NeedsOutside | NeedsContainer, Run: networkMetadata,
		Why: "a job that reaches it can take over the machine's identity in the cloud"},
	{ID: "network.registry", Title: "registry of the base images", Group: "Network", Severity: Advice, Needs: NeedsEngine | NeedsOutside | NeedsRegistry, Run: networkRegistry,
		Why: "the runner image is built from them"},
}

// MetadataService is the address where clouds describe a machine to itself. Nowhere is an
// address that no host has (RFC 5737): if something answers there, a proxy answers for every
// address.
const (
	MetadataService = "169.254.169.254:80"
	Nowhere         = "198.51.100.1:80"
)

func networkForwarding(f Facts) Outcome {
	value, ok := sysctl(f, "net.ipv4.ip_forward")
	switch {
	case !f.Machine.OwnNetwork:
		return skip("this setting belongs to a network namespace, and the engine uses a different one")
	case !ok:
		return skip("net.ipv4.ip_forward can't be read")
	case value != "1":
		return Outcome{Fail, "net.ipv4.ip_forward = " + value, fix("turn it on", setting{"net.ipv4.ip_forward", 1, false})}
	}
	return pass("on")
}

func networkIptables(f Facts) Outcome {
	text, err := fs.ReadFile(f.Machine.Root, f.Machine.Process+"/net/ip_tables_names")
	legacy := strings.Fields(string(text))
	newer := words(f.Machine.Root, "proc/modules", func(fields []string) string {
		if fields[0] == "nft_compat" && fields[2] != "0" { // in use
			return fields[0]
		}
		return ""
	})["nft_compat"]
	switch {
	case err != nil || len(legacy) == 0:
		return pass("no legacy rules")
	case newer && slices.Contains(legacy, "nat"):
		slices.Sort(legacy)
		return Outcome{Warn, "both kinds are in use, legacy tables: " + strings.Join(legacy, ", "), advice("iptables-legacy-save shows the older rules; to remove them, disable the program that adds them and reboot")}
	}
	return pass("legacy tables: %s", strings.Join(legacy, ", "))
}

// route is one of the machine's IPv4 routes.
type route struct {
	device string
	to     netip.Prefix
}

// Routes returns the machine's networks, without the default route.
func Routes(machine Machine) (all []netip.Prefix) {
	if machine.Root == nil {
		return nil
	}
	for _, one := range routes(Facts{Machine: machine}) {
		if one.to.Bits() != 0 {
			all = append(all, one.to)
		}
	}
	return all
}

// routes reads /proc/net/route, whose addresses are little-endian words in hex.
func routes(f Facts) (all []route) {
	text, err := fs.ReadFile(f.Machine.Root, f.Machine.Process+"/net/route")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		to, mask := word(fields[1]), word(fields[7])
		if to == nil || mask == nil {
			continue // the header line
		}
		bits := 0
		for ones := binary.BigEndian.Uint32(mask); ones != 0; ones <<= 1 {
			bits++
		}
		all = append(all, route{fields[0], netip.PrefixFrom(netip.AddrFrom4([4]byte(to)), bits)})
	}
	return all
}

func word(text string) []byte {
	bytes, err := hex.DecodeString(text)
	if err != nil || len(bytes) != 4 {
		return nil
	}
	slices.Reverse(bytes)
	return bytes
}

func networkMTU(f Facts) Outcome {
	i := slices.IndexFunc(f.Engine.Networks, func(one Network) bool { return one.Default })
	if i < 0 {
		return skip("the engine has no default bridge")
	}
	bridge := f.Engine.Networks[i].MTU
	if bridge == 0 {
		bridge = 1500 // Docker's default
	}
	narrowest, uplink := 0, ""
	for _, one := range routes(f) {
		if one.to.Bits() != 0 {
			continue
		}
		text, err := fs.ReadFile(f.Machine.Root, "sys/class/net/"+one.device+"/mtu")
		if mtu, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil && (uplink == "" || mtu < narrowest) {
			narrowest, uplink = mtu, one.device
		}
	}
	switch {
	case uplink == "":
		return pass("%d; no uplink to compare it with", bridge)
	case bridge > narrowest:
		return Outcome{Warn, fmt.Sprintf("%d, but the uplink %s has %d", bridge, uplink, narrowest), advice(`"mtu": %d in /etc/docker/daemon.json, then restart the engine`, narrowest)}
	}
	return pass("%d, the uplink %s has %d", bridge, uplink, narrowest)
}

// networkEgress compares a container's way out with the machine's own, so that the engine is
// not blamed for a machine without one.
func networkEgress(f Facts) Outcome {
	way := f.Container.Way
	bridge := slices.IndexFunc(f.Engine.Networks, func(one Network) bool { return one.Default })
	unmasked := bridge >= 0 && f.Engine.Networks[bridge].Unmasked
	to := "a DNS server"
	if way.Target != "" {
		to = way.Target
	}
	switch {
	case bridge < 0:
		return Outcome{Fail, "the engine has no default bridge", advice(`remove "bridge": "none" from the engine's daemon.json, and restart it`)}
	case !way.Asked:
		return skip("offline")
	case way.Open():
		return pass("a container reaches %s", to)
	case f.Container.FromHost == nil || !f.Container.FromHost.Open():
		if unmasked {
			return Outcome{Warn, "neither a container nor the machine itself reaches " + to + `, and the engine does not masquerade its addresses`, advice(`remove "iptables": false or "ip-masq": false from the engine's daemon.json, unless the network has routes to its containers`)}
		}
		return Outcome{Warn, "neither a container nor the machine itself reaches " + to, advice("connect the machine to that address if jobs need it")}
	case unmasked:
		return Outcome{Fail, "the machine reaches " + to + ", a container does not: the engine does not masquerade its addresses", advice(`remove "iptables": false or "ip-masq": false from the engine's daemon.json, and restart it`)}
	}
	return Outcome{Fail, "the machine reaches " + to + ", a container does not", advice(`remove "ip-forward": false from the engine's daemon.json, and restart it (sysctl net.ipv4.ip_forward must be 1); otherwise a firewall of the machine drops forwarded packets of containers (iptables -S FORWARD, nft list ruleset)`)}
}

func networkDNS(f Facts) Outcome {
	way := f.Container.Way
	var usable []string
	for _, server := range way.Servers {
		if address, err := netip.ParseAddr(server); err == nil && address.Is4() {
			usable = append(usable, server)
		}
	}
	answers := func(server string) bool { return way.Answers[server] }
	switch {
	case !way.Asked:
		return skip("offline")
	case len(way.Servers) == 0:
		return skip("containers get no DNS server")
	case len(usable) == 0:
		return Outcome{Fail, "IPv6 only: " + strings.Join(way.Servers, ", "), advice(`set a server with an IPv4 address first in the engine's daemon.json: "dns": ["192.0.2.53"]`)}
	case len(way.Answers) == 0 && f.Container.FromHost != nil && len(f.Container.FromHost.Answers) > 0:
		return skip("containers don't reach the DNS servers")
	case len(way.Answers) == 0:
		return Outcome{Warn, "none answers: " + strings.Join(way.Servers, ", "), advice(`set a server that answers in the engine's daemon.json: "dns": ["192.0.2.53"]`)}
	case !slices.ContainsFunc(usable, answers):
		return Outcome{Fail, "none with an IPv4 address answers: " + strings.Join(usable, ", "), advice(`set a server that answers in the engine's daemon.json: "dns": ["192.0.2.53"]`)}
	case !answers(usable[0]):
		return Outcome{Warn, "the first one, " + usable[0] + ", does not answer: each name takes some seconds", advice(`remove it from "dns" in the engine's daemon.json or from /etc/resolv.conf`)}
	}
	return pass("%s", strings.Join(way.Servers, ", "))
}

func networkICC(f Facts) Outcome {
	if slices.ContainsFunc(f.Engine.Networks, func(one Network) bool { return one.Default && one.Apart }) {
		return Outcome{Warn, `they don't reach each other ("icc": false)`, advice(`keep it if no job needs these connections; otherwise remove "icc": false from the engine's daemon.json`)}
	}
	return pass("reach each other")
}

// slirp is the network between a runner and its own slirp4netns or pasta.
var slirp = netip.MustParsePrefix("169.254.213.0/24")

func networkPools(f Facts) Outcome {
	if !f.Wanted.Pool.IsValid() {
		return Outcome{Fail, "the engine's networks leave no free block in 10.0.0.0/8", advice("docker network ls shows them: remove one, or narrow the \"default-address-pools\" of the engine's daemon.json")}
	}
	return pass("%s overlaps no network of the engine", f.Wanted.Pool)
}

func networkRoutes(f Facts) Outcome {
	var hidden []string
	for _, one := range routes(f) {
		route := fmt.Sprintf("%s (%s)", one.to, one.device)
		switch {
		case one.to.Bits() == 0, linkLocal(one.to):
		case f.Wanted.Pool.IsValid() && one.to.Overlaps(f.Wanted.Pool), one.to.Overlaps(slirp):
			hidden = append(hidden, route)
		}
	}
	if len(hidden) > 0 {
		return Outcome{Warn, "partly hidden from jobs: " + strings.Join(hidden, ", "), advice("if jobs need an address of %s or %s, use another range or a narrower route for the machine's network", f.Wanted.Pool, slirp)}
	}
	return pass("none is hidden from jobs")
}

// linkLocal reports whether to is the route for all link-local addresses. Some machines have
// that route; it stands for no particular host.
func linkLocal(to netip.Prefix) bool { return to == netip.MustParsePrefix("169.254.0.0/16") }

func networkMetadata(f Facts) Outcome {
	if f.Container.Nowhere {
		return skip("a proxy answers for every address here, so the check is not possible")
	}
	if f.Container.Metadata {
		host, _, _ := strings.Cut(MetadataService, ":")
		rule := "DOCKER-USER -d " + host + " -j REJECT"
		return Outcome{Warn, MetadataService + " answers a container", fix("block it for containers (and again after each start of the engine), or have the cloud require a session token with a hop limit of 1",
			shell{"block_metadata", "iptables -C " + rule + " 2>/dev/null", "iptables -I " + rule})}
	}
	return pass("none answers a container")
}

func networkRegistry(f Facts) Outcome {
	var problems []string
	for _, base := range f.Wanted.Missing {
		if problem := f.Registry.Problems[base]; problem != "" {
			problems = append(problems, base+": "+problem)
		}
	}
	if len(problems) > 0 {
		return Outcome{Warn, strings.Join(problems, "; "), advice("check image.base and the engine's connection to the registry; --bootstrap-base builds debian and ubuntu bases from their packages")}
	}
	if len(f.Registry.Login) > 0 {
		return pass("answers and requires a login (%s)", strings.Join(f.Registry.Login, ", "))
	}
	return pass("has %s", strings.Join(f.Wanted.Missing, ", "))
}
