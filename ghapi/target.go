// Package ghapi adapts GitHub's API: targets, clients and, later, registration.
package ghapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/go-github/v60/github"
)

// Kind of a target.
type Kind string

// What runners can be registered with.
const (
	Repo       Kind = "repository"
	Org        Kind = "organization"
	Enterprise Kind = "enterprise"
)

// Target is where runners take their jobs from.
type Target struct {
	Kind  Kind
	Host  string // github.com, or a GitHub Enterprise Server
	Owner string // organization, enterprise, or the repository's owner
	Repo  string // of Kind Repo only
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
		return bad("it is no URL")
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
			return bad(fmt.Sprintf("%q is no name", part))
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

// NewClient is a client for the target's own GitHub.
func NewClient(target Target, transport *http.Client) (*github.Client, error) {
	client := github.NewClient(transport)
	if target.Host == "github.com" {
		return client, nil
	}
	base := "https://" + target.Host
	client, err := client.WithEnterpriseURLs(base+"/api/v3/", base+"/api/uploads/")
	if err != nil {
		return nil, fmt.Errorf("GitHub at %s: %w", target.Host, err)
	}
	return client, nil
}
