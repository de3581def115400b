//go:build linux

package rootfs

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// hosts is the machine's /etc/hosts.
func hosts(name string) string {
	return "127.0.0.1 localhost\n127.0.1.1 " + name + "\n::1 localhost ip6-localhost ip6-loopback\n"
}

// maxServers is the number of name servers that a resolver reads.
const maxServers = 3

// resolvers is the machine's /etc/resolv.conf. It begins with the host's own name servers, of
// which the first may be down. The network driver's server queries only the first one, but also
// reaches servers that are unreachable from the machine, like those on the host's loopback.
func resolvers(outer string) string {
	var servers, rest []string
	for line := range strings.Lines(outer) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			address, err := netip.ParseAddr(words[1])
			if err == nil && address.Is4() && !address.IsLoopback() && len(servers) < maxServers-1 {
				servers = append(servers, words[1])
			}
		case "search", "domain", "options":
			rest = append(rest, strings.TrimRight(line, "\n"))
		}
	}
	var text strings.Builder
	for _, server := range append(servers, NetworkDNS) {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	for _, line := range rest {
		fmt.Fprintln(&text, line)
	}
	return text.String()
}

// sharedMemory limits the size of /dev/shm in bytes. Its content counts as the runner's memory:
// if it is full, the daemons still need room.
func sharedMemory(wanted, memory int64) int64 { return min(wanted, memory/2) }

// memory returns the container's limit in bytes, or the host's memory without one.
func memory() (int64, error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	var limits []string
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(file); err == nil {
			limits = append(limits, string(text))
		}
	}
	return leastMemory(string(info), limits)
}

// leastMemory reads /proc/meminfo and the limits of control groups.
func leastMemory(meminfo string, limits []string) (int64, error) {
	var kib int64
	if _, err := fmt.Sscanf(meminfo, "MemTotal: %d kB", &kib); err != nil {
		return 0, fmt.Errorf("/proc/meminfo: %w", err)
	}
	memory := kib << 10
	for _, text := range limits {
		if limit, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && limit > 0 { // "max": none
			memory = min(memory, limit)
		}
	}
	return memory, nil
}
