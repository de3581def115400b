//go:build linux

package hosts

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
)

const roundTrip = 100 * time.Millisecond

// farAway returns a host's address behind a link with the round-trip time roundTrip.
func farAway(t *testing.T, engine *enginetest.Engine) string {
	t.Helper()
	return "tcp://" + e2e.Relay(t, strings.TrimPrefix(engine.Host, "unix://"), func(near, far net.Conn) {
		time.Sleep(roundTrip) // connecting takes one round trip
		go delayed(near, far)
		delayed(far, near)
	})
}

// delayed passes data on half a round trip later, with no limit on the data under way.
func delayed(from, to net.Conn) {
	type parcel struct {
		content []byte
		due     time.Time
	}
	link := make(chan parcel, 10000)
	go func() {
		defer func() { _ = to.Close() }()
		for one := range link {
			time.Sleep(time.Until(one.due))
			if _, err := to.Write(one.content); err != nil {
				return
			}
		}
	}()
	defer close(link)
	for {
		content := make([]byte, 32<<10)
		n, err := from.Read(content)
		if err != nil {
			return
		}
		link <- parcel{content[:n], time.Now().Add(roundTrip / 2)}
	}
}

// ps of five remote hosts takes hardly longer than ps of the slowest one alone.
func TestPsOfHostsFarAway(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_CERT_PATH", "")
	var file strings.Builder
	file.WriteString("hosts:\n")
	names := []string{"one", "two", "three", "four", "five"}
	var engine *enginetest.Engine
	for _, name := range names {
		if engine == nil || e2e.Thorough { // otherwise all five links lead to one engine
			engine = e2e.PlainEngine(t, enginetest.Options{DiskMiB: 64})
			putRunner(t, engine, "ci-aaaa")
		}
		fmt.Fprintf(&file, "- {name: %s, address: %q}\n", name, farAway(t, engine))
	}
	e2e.WriteFile(t, "runnerctl.yaml", file.String())
	rounds := 3
	if e2e.Thorough {
		rounds = 7
	}
	took := map[string][]time.Duration{}
	measure := func(name string, args ...string) {
		started := time.Now()
		table := e2e.Must(t, append([]string{"ps"}, args...)...)
		took[name] = append(took[name], time.Since(started))
		if want := max(1, len(names)*(1-len(args))); strings.Count(table, "  created  ") != want {
			t.Errorf("%s: %d wanted:\n%s", name, want, table)
		}
	}
	for range rounds { // interleaved, so that other load on the machine affects all alike
		measure("all")
		for _, name := range names {
			measure(name, "--host", name)
		}
	}
	median := func(name string) time.Duration {
		return slices.Sorted(slices.Values(took[name]))[rounds/2]
	}
	slowest := time.Duration(0)
	for _, name := range names {
		slowest = max(slowest, median(name))
	}
	ratio := float64(median("all")) / float64(slowest)
	t.Logf("five hosts %s, the slowest alone %s: %.2f ×", median("all"), slowest, ratio)
	if slowest < 2*roundTrip {
		t.Errorf("the link adds nothing: %s, want %s at least", slowest, 2*roundTrip)
	}
	if ratio > 1.3 {
		t.Errorf("%.2f × the slowest alone, want at most 1.3", ratio)
	}
}
