package dockerx

import "testing"

func TestProofName(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][3]string{{"sha256:1", "engine", "6.1"}, {"sha256:2", "engine", "6.1"}, {"sha256:1", "other", "6.1"}, {"sha256:1", "engine", "6.2"}} {
		name := proofName(parts[0], parts[1], parts[2])
		if seen[name] || len(name) != len("runnerctl-proof-")+12 {
			t.Errorf("%v: %s, want a name of its own", parts, name)
		}
		seen[name] = true
	}
}
