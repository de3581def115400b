//go:build linux

package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"
)

// cable connects a network namespace to the machine's own; it disappears with that namespace.
// The addresses are from a block that no network uses (RFC 2544).
type cable struct {
	name          string
	here, address string // the two ends' addresses
}

var cables atomic.Uint32

// newCable returns one of this process's eight cables.
func newCable() cable {
	n := cables.Add(1) - 1
	block := (os.Getpid()*8 + int(n%8)) % (1 << 15) * 4
	address := func(end int) string { return fmt.Sprintf("198.%d.%d.%d", 18+block>>16, block>>8&255, block&255+end) }
	return cable{fmt.Sprintf("rctl%d-%d", os.Getpid(), n%8), address(1), address(2)}
}

// plug connects the network namespace of the process that unshare forks, as soon as there is one. log
// returns the process's last words.
func (c cable) plug(t *testing.T, unshare *exec.Cmd, log func() string) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); childOf(unshare) == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("cable: there is no process to connect:\n%s", log())
		}
	}
	out, err := exec.Command("sh", "-euc", `
		ip link delete "$1" 2>/dev/null || true
		ip link add "$1" type veth peer name eth0 netns "$2"
		ip address add "$3/30" dev "$1"
		ip link set "$1" up
		nsenter --target "$2" --net sh -euc 'ip address add "$1/30" dev eth0; ip link set eth0 up; ip route add default via "$2"' link "$4" "$3"`,
		"link", c.name, childOf(unshare), c.here, c.address).CombinedOutput()
	if err != nil {
		t.Fatalf("cable: %v: %s", err, out)
	}
}
