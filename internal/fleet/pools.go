package fleet

import (
	"fmt"
	"net/netip"
	"slices"
)

// Pools picks the inner daemon's addresses: a /16 that overlaps none of the outer networks,
// because it would hide them from the job. It also avoids the machine's routes if possible (a
// single route may cover all of 10.0.0.0/8). The lower half is the inner docker0, the upper
// half holds 128 networks of 254 addresses.
func Pools(outer, routes []netip.Prefix) (bip, pool string, err error) {
	if len(routes) > 0 {
		if bip, pool, err := Pools(slices.Concat(outer, routes), nil); err == nil {
			return bip, pool, nil
		}
	}
	for second := 213; second != 212; second = (second + 1) % 256 {
		block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), 0, 0}), 16)
		if overlaps(block, outer) {
			continue
		}
		return fmt.Sprintf("10.%d.0.1/17", second), fmt.Sprintf("base=10.%d.128.0/17,size=24", second), nil
	}
	return "", "", fmt.Errorf("no free address block for the inner daemon: the host's networks cover 10.0.0.0/8")
}

func overlaps(block netip.Prefix, others []netip.Prefix) bool {
	for _, other := range others {
		if block.Overlaps(other) {
			return true
		}
	}
	return false
}
