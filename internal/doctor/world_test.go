package doctor

import (
	"strings"
	"testing"
)

func TestWorldBuildx(t *testing.T) {
	for _, test := range []struct {
		world    World
		status   Status
		observed string
	}{
		{World{}, Skip, "no runner image yet"},
		{World{Image: "runnerctl/runner:a"}, Warn, "runnerctl/runner:a (no profile) has the distribution's buildx"},
		{World{"runnerctl/runner:a", "standard", "distribution"}, Warn, "runnerctl/runner:a (profile standard) has the distribution's buildx"},
		{World{"runnerctl/runner:a", "hosted", "0.20.1"}, Warn, "(profile hosted) has buildx 0.20.1"},
		{World{"runnerctl/runner:a", "hosted", "0.21.0"}, Pass, "runnerctl/runner:a: profile hosted, buildx 0.21.0"},
		{World{"runnerctl/runner:a", "hosted", "1.0.0"}, Pass, "buildx 1.0.0"},
		{World{"runnerctl/runner:a", "hosted", "sha256:0a0b"}, Pass, "buildx sha256:0a0b"},
	} {
		got := worldBuildx(Facts{World: test.world})
		if got.Status != test.status || !strings.Contains(got.Observed, test.observed) {
			t.Errorf("%+v: %+v, want %s %q", test.world, got, test.status, test.observed)
		}
	}
}
