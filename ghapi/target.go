// Package ghapi adapts GitHub's API: targets, registrations, and a client that waits for
// limits and explains refusals.
package ghapi

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Kind is the kind of a target.
type Kind string

// The kinds of targets that runners can be registered with.
const (
	Repo       Kind = "repository"
	Org        Kind = "organization"
	Enterprise Kind = "enterprise"
)

// Target is the place that runners take their jobs from.
type Target struct {
	Kind  Kind
	Host  string // github.com, or a GitHub Enterprise Server
	Owner string // organization, enterprise, or the repository's owner
	Repo  string // for Kind Repo only
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// ParseTarget reads https://HOST/OWNER/REPO, /ORG or /enterprises/E.
func ParseTarget(text string) (Target, error) {
	bad := func(reason string) (Target, error) {
		return Target{}, fmt.Errorf("target %q: %s, expected https://github.com/OWNER/REPO, /ORG or /enterprises/E", text, reason)
	}
	if strings.HasPrefix(text, "git@") || strings.HasPrefix(text, "ssh://") {
		return bad("it is an ssh address")
	}
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("it is not a URL")
	case address.Scheme != "https":
		return bad("it must begin with https://")
	case address.Host == "":
		return bad("it names no host")
	case address.User != nil:
		return bad("it holds credentials")
	case address.RawQuery != "" || address.Fragment != "":
		return bad("it has a query or a fragment")
	}
	parts := strings.Split(strings.Trim(address.Path, "/"), "/")
	for _, part := range parts {
		if !namePattern.MatchString(part) {
			return bad(fmt.Sprintf("%q is not a name", part))
		}
	}
	target := Target{Host: strings.ToLower(address.Host)}
	switch {
	case len(parts) == 2 && parts[0] == "enterprises":
		target.Kind, target.Owner = Enterprise, parts[1]
	case len(parts) == 1 && parts[0] != "enterprises":
		target.Kind, target.Owner = Org, parts[0]
	case len(parts) == 2:
		target.Kind, target.Owner, target.Repo = Repo, parts[0], strings.TrimSuffix(parts[1], ".git")
	default:
		return bad("its path has too many or too few parts")
	}
	return target, nil
}

func (t Target) String() string {
	switch t.Kind {
	case Repo:
		return fmt.Sprintf("%s %s/%s", t.Kind, t.Owner, t.Repo)
	default:
		return fmt.Sprintf("%s %s", t.Kind, t.Owner)
	}
}

// URL returns the target in the form that ParseTarget reads.
func (t Target) URL() string {
	switch t.Kind {
	case Repo:
		return fmt.Sprintf("https://%s/%s/%s", t.Host, t.Owner, t.Repo)
	case Enterprise:
		return fmt.Sprintf("https://%s/enterprises/%s", t.Host, t.Owner)
	default:
		return fmt.Sprintf("https://%s/%s", t.Host, t.Owner)
	}
}

// APIURL returns the address of the target's API, with a trailing slash.
func (t Target) APIURL() string {
	if t.Host == "github.com" || strings.HasSuffix(t.Host, ".ghe.com") {
		return "https://api." + t.Host + "/"
	}
	return "https://" + t.Host + "/api/v3/"
}

// IsServer reports whether the target is on a GitHub Enterprise Server, and not on GitHub's
// own machines.
func (t Target) IsServer() bool { return strings.HasSuffix(t.APIURL(), "/api/v3/") }

// route returns the path of the target's own part of the API.
func (t Target) route() string {
	switch t.Kind {
	case Repo:
		return fmt.Sprintf("repos/%s/%s", t.Owner, t.Repo)
	case Org:
		return "orgs/" + t.Owner
	default:
		return "enterprises/" + t.Owner
	}
}
