package dockerx

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// envJobs holds the variables that only jobs get, one per line.
const envJobs = "RUNNERCTL_ENV"

// environment returns the variables that the settings put into a runner's environment.
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

// noProxy lists the addresses that a runner reaches without the proxy: those of the settings,
// its own machine and its containers' networks. Programs that accept no networks in this list
// at least know localhost.
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
