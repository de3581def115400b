package cache

import (
	"net/url"
	"strings"

	"github.com/runnerctl/runnerctl/internal/cache/token"
)

// results is github.com's results service, to which its runners need access
// (docs.github.com/en/actions/reference/runners/self-hosted-runners).
const results = "https://results-receiver.actions.githubusercontent.com"

// TargetOf returns the GitHub of a target's URL. A ghe.com tenant has services of its own
// (docs.github.com/en/enterprise-cloud@latest/admin/data-residency). On GitHub Enterprise Server,
// the issuer is part of the server, and so is the results service.
func TargetOf(target string) (Target, error) {
	at, err := url.Parse(target)
	if err != nil {
		return Target{}, err
	}
	host := strings.ToLower(at.Host)
	switch tenant, isTenant := strings.CutSuffix(host, ".ghe.com"); {
	case host == "github.com":
		return Target{Name: host, Issuer: token.GitHub, Results: results, API: "https://api.github.com"}, nil
	case isTenant:
		return Target{
			Name: host, Issuer: "https://token.actions." + tenant + ".ghe.com", Results: "https://results-receiver.actions." + tenant + ".ghe.com",
			API: "https://api." + tenant + ".ghe.com",
		}, nil
	}
	return Target{Name: host, Issuer: "https://" + host + "/_services/token", Results: "https://" + host, API: "https://" + host + "/api/v3"}, nil
}

// With returns the configuration with a target, which replaces one with the same name.
func (c Config) With(target Target) Config {
	merged := []Target{}
	for _, one := range c.Targets {
		if one.Name != target.Name {
			merged = append(merged, one)
		}
	}
	c.Targets = append(merged, target)
	return c
}
