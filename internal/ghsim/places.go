package ghsim

import (
	"net/url"
	"slices"
	"strings"
)

// Visibility is the visibility of a repository.
type Visibility string

// GitHub's three visibilities.
const (
	Public   Visibility = "public"
	Private  Visibility = "private"
	Internal Visibility = "internal"
)

// place is where runners are registered: "repos/acme/api", "orgs/acme" or
// "enterprises/big".
type place string

func (p place) kind() string { return strings.SplitN(string(p), "/", 2)[0] }

// owner returns the account that the place belongs to.
func (p place) owner() string { return strings.Split(string(p), "/")[1] }

// name returns OWNER/REPO, or the owner's name.
func (p place) name() string { return strings.SplitN(string(p), "/", 2)[1] }

// target returns the path of the place's URL: "acme/api", "acme", "enterprises/big".
func (p place) target() string {
	if p.kind() == "enterprises" {
		return string(p)
	}
	return p.name()
}

// holder is the data of a place.
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

// AddRepository adds the repository OWNER/REPO, and the organization OWNER.
func (s *Server) AddRepository(name string, visibility Visibility) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, _, _ := strings.Cut(name, "/")
	s.addPlace(place("orgs/"+owner), "")
	s.addPlace(place("repos/"+name), visibility)
}

// AddEnterprise adds an enterprise.
func (s *Server) AddEnterprise(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addPlace(place("enterprises/"+name), "")
}

// AddGroup adds a runner group to an organization ("orgs/acme") or an enterprise
// ("enterprises/big") and returns its id. Each of them has the group Default with id 1.
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

// placeOfURL parses a target as runners send it: https://HOST/acme/api.
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

// serves reports whether a runner registered at p takes jobs of repository. Every enterprise
// owns all organizations.
func (p place) serves(repository string) bool {
	owner, _, _ := strings.Cut(repository, "/")
	return slices.Contains([]place{place("repos/" + repository), place("orgs/" + owner)}, p) || p.kind() == "enterprises"
}
