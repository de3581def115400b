package dockerx

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// envJobs has the variables of jobs, a line each, which only they get.
const envJobs = "RUNNERCTL_ENV"

// environment is what the settings put into a runner's environment.
func environment(spec fleet.Spec) (all []string) {
	if len(spec.Env) > 0 {
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(spec.Env)) {
			lines = append(lines, name+"="+spec.Env[name])
		}
		all = append(all, envJobs+"="+strings.Join(lines, "\n"))
	}
	if spec.Proxy == nil {
		return all
	}
	// Programs differ in which case they read.
	for _, one := range []struct{ name, value string }{
		{"http_proxy", spec.Proxy.HTTP}, {"https_proxy", spec.Proxy.HTTPS}, {"no_proxy", noProxy(spec)},
	} {
		if one.value != "" {
			all = append(all, one.name+"="+one.value, strings.ToUpper(one.name)+"="+one.value)
		}
	}
	return all
}

// noProxy is what a runner reaches by itself: what the settings say, its own machine and
// its containers' networks. Programs that take no networks there know localhost at least.
func noProxy(spec fleet.Spec) string {
	all := append(slices.Clone(spec.Proxy.Except), "localhost", "127.0.0.1", "::1", "host.docker.internal", "169.254.213.0/24")
	networks := []string{spec.Bip}
	for _, pool := range strings.Fields(spec.Pool) {
		base, _, _ := strings.Cut(strings.TrimPrefix(pool, "base="), ",")
		networks = append(networks, base)
	}
	for _, network := range networks {
		if prefix, err := netip.ParsePrefix(network); err == nil {
			all = append(all, prefix.Masked().String())
		}
	}
	return strings.Join(all, ",")
}
