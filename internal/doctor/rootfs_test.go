package doctor

import (
	"strings"
	"testing"
)

func TestRootfsBuildx(t *testing.T) {
	for _, test := range []struct {
		rootfs   Rootfs
		status   Status
		observed string
	}{
		{Rootfs{}, Skip, "no runner image yet"},
		{Rootfs{Image: "runnerctl/runner:a"}, Warn, "runnerctl/runner:a (no profile) has the distribution's buildx"},
		{Rootfs{"runnerctl/runner:a", "standard", "distribution"}, Warn, "runnerctl/runner:a (profile standard) has the distribution's buildx"},
		{Rootfs{"runnerctl/runner:a", "hosted", "0.20.1"}, Warn, "(profile hosted) has buildx 0.20.1"},
		{Rootfs{"runnerctl/runner:a", "hosted", "0.21.0"}, Pass, "runnerctl/runner:a: profile hosted, buildx 0.21.0"},
		{Rootfs{"runnerctl/runner:a", "hosted", "1.0.0"}, Pass, "buildx 1.0.0"},
		{Rootfs{"runnerctl/runner:a", "hosted", "sha256:0a0b"}, Pass, "buildx sha256:0a0b"},
	} {
		got := rootfsBuildx(Facts{Rootfs: test.rootfs})
		if got.Status != test.status || !strings.Contains(got.Observed, test.observed) {
			t.Errorf("%+v: %+v, want %s %q", test.rootfs, got, test.status, test.observed)
		}
	}
}
