package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	noProxyPattern  = regexp.MustCompile(`^[A-Za-z0-9.*:/\[\]_-]+$`)
)

// ownVariables belong to the machine's user, the agent and runnerctl, and so do all names that
// begin with one of ownPrefixes.
var (
	ownVariables = []string{"HOME", "USER", "LOGNAME", "SHELL"}
	ownPrefixes  = []string{"RUNNERCTL_", "GITHUB_", "RUNNER_", "ACTIONS_RUNNER_HOOK_", "ACTIONS_RUNNER_RETURN_"}
	proxyNames   = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
)

func (r Runners) validateEnvironment() error {
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		problem := ""
		switch value := r.Env[name]; {
		case !variablePattern.MatchString(name):
			problem = fmt.Sprintf("%q is not the name of a variable", name)
		case slices.Contains(proxyNames, strings.ToUpper(name)):
			problem = name + ": runners.proxy sets it, for the daemon and builds too"
		case slices.Contains(ownVariables, name), name != "RUNNER_TOOL_CACHE" && slices.ContainsFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }):
			problem = name + " is set by the runner itself"
		case strings.ContainsAny(value, "\n\r\x00"):
			problem = name + ": expected one line"
		}
		if problem != "" {
			return &Error{Field: "runners.env", Problem: problem}
		}
	}
	for field, address := range map[string]string{"runners.proxy.http": r.Proxy.HTTP, "runners.proxy.https": r.Proxy.HTTPS} {
		if err := validateProxy(field, address); err != nil {
			return err
		}
	}
	for _, one := range r.Proxy.NoProxy {
		if !noProxyPattern.MatchString(one) {
			return &Error{Field: "runners.proxy.noProxy", Problem: fmt.Sprintf("%q: expected a host's name, a domain like .example.com, an address or a network", one)}
		}
	}
	return nil
}

func validateProxy(field, address string) error {
	if address == "" {
		return nil
	}
	proxy, err := url.Parse(address)
	switch {
	case err != nil, proxy.Scheme != "http" && proxy.Scheme != "https", proxy.Hostname() == "", strings.Trim(proxy.Path, "/") != "", strings.ContainsAny(address, " \n\r"):
		return &Error{Field: field, Problem: "expected a URL like http://proxy.example.com:3128"}
	case proxy.User != nil:
		return &Error{Field: field, Problem: "a user or password in it would be readable in every container of the fleet", Advice: "let the proxy allow the hosts by their address, or run a local proxy without a login that forwards to it"}
	}
	if loopback, err := netip.ParseAddr(proxy.Hostname()); proxy.Hostname() == "localhost" || err == nil && loopback.IsLoopback() {
		return &Error{Field: field, Problem: proxy.Host + " is the runner itself in a container", Advice: "let the proxy listen on an address that containers reach, like the address of the Docker bridge"}
	}
	return nil
}

// archiveRule says which settings of a program in the image are valid. words are the valid
// versions besides numbers like the example.
type archiveRule struct {
	field, example string
	words          []string
}

var (
	agentRule  = archiveRule{field: "image.agent", example: "2.330.0", words: []string{"latest"}}
	buildxRule = archiveRule{field: "image.buildx", example: "0.31.1", words: []string{"latest", "distribution"}}
)

func (r archiveRule) validate(version, archive, sha256 string) error {
	field := r.field
	switch {
	case !slices.Contains(r.words, version) && !versionPattern.MatchString(version):
		return &Error{Field: field + ".version", Problem: fmt.Sprintf("%q: expected %s, or a version like %s", version, strings.Join(r.words, ", "), r.example)}
	case sha256 != "" && !sha256Pattern.MatchString(sha256):
		return &Error{Field: field + ".sha256", Problem: fmt.Sprintf("%q: expected 64 hex digits", sha256)}
	case !strings.Contains(archive, "://"):
		return nil
	case !strings.HasPrefix(archive, "https://") && !strings.HasPrefix(archive, "http://"):
		return &Error{Field: field + ".archive", Problem: fmt.Sprintf("%q: expected a file or an http(s) URL", archive)}
	case sha256 == "":
		return &Error{Field: field + ".archive", Problem: "a URL needs " + field + ".sha256", Advice: "GitHub's release page shows the SHA-256 of each archive"}
	}
	return nil
}
