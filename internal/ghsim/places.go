package ghsim

import (
	"net/url"
	"slices"
	"strings"
)

// Visibility of a repository.
type Visibility string

// GitHub's three.
const (
	Public   Visibility = "public"
	Private  Visibility = "private"
	Internal Visibility = "internal"
)

// place is where runners are registered: "repos/acme/api", "orgs/acme" or
// "enterprises/big".
type place string

func (p place) kind() string { return strings.SplitN(string(p), "/", 2)[0] }

// owner is the account it belongs to.
func (p place) owner() string { return strings.Split(string(p), "/")[1] }

// name is OWNER/REPO, or the owner's.
func (p place) name() string { return strings.SplitN(string(p), "/", 2)[1] }

// target is the path of its URL: "acme/api", "acme", "enterprises/big".
func (p place) target() string {
	if p.kind() == "enterprises" {
		return string(p)
	}
	return p.name()
}

// holder is what is known of a place.
type holder struct {
	id         int64
	visibility Visibility // of repositories
	groups     []group
}

type group struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Default bool   `json:"default"`
}

// AddRepository makes OWNER/REPO known, and the organization OWNER.
func (s *Server) AddRepository(name string, visibility Visibility) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, _, _ := strings.Cut(name, "/")
	s.addPlace(place("orgs/"+owner), "")
	s.addPlace(place("repos/"+name), visibility)
}

// AddEnterprise makes an enterprise known.
func (s *Server) AddEnterprise(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addPlace(place("enterprises/"+name), "")
}

// AddGroup makes a runner group of an organization ("orgs/acme") or an
// enterprise ("enterprises/big") and gives its id. Each has the group Default
// of id 1.
func (s *Server) AddGroup(of, name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := group{ID: s.id(), Name: name}
	s.places[place(of)].groups = append(s.places[place(of)].groups, made)
	return made.ID
}

func (s *Server) addPlace(p place, visibility Visibility) {
	if s.places[p] == nil {
		s.places[p] = &holder{id: s.id(), groups: []group{{ID: 1, Name: "Default", Default: true}}}
	}
	s.places[p].visibility = visibility
}

// placeOfURL reads a target as runners give it: https://HOST/acme/api.
func placeOfURL(text string) (place, bool) {
	address, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	parts := strings.Split(strings.Trim(address.Path, "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "enterprises":
		return place("enterprises/" + parts[1]), true
	case len(parts) == 2:
		return place("repos/" + parts[0] + "/" + parts[1]), true
	case len(parts) == 1 && parts[0] != "":
		return place("orgs/" + parts[0]), true
	}
	return "", false
}

// serves tells whether a runner registered at p takes jobs of repository. Any
// enterprise has all organizations.
func (p place) serves(repository string) bool {
	owner, _, _ := strings.Cut(repository, "/")
	return slices.Contains([]place{place("repos/" + repository), place("orgs/" + owner)}, p) || p.kind() == "enterprises"
}
