package ghsim

import (
	"crypto/rsa"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// runner is a registered runner.
type runner struct {
	id        int64
	name      string
	place     place
	group     int64
	labels    []label
	os        string
	version   string
	ephemeral bool
	clientID  string
	key       *rsa.PublicKey
	session   *session
	job       *job      // assigned or running
	messages  []any     // waiting for its next poll
	ends      time.Time // when it vanishes after its one job; zero: the job is not over
}

// lingers reports whether the runner's one job is over, but GitHub has not noticed yet.
// Clients see such a runner as busy.
func (r *runner) lingers() bool { return !r.ends.IsZero() }

func (r *runner) busy() bool { return r.job != nil || r.lingers() }

// expireRunners forgets the runners that have lingered long enough. The caller must hold s.mu.
func (s *Server) expireRunners() {
	for _, r := range s.runners {
		if r.lingers() && !s.now().Before(r.ends) {
			s.forget(r)
		}
	}
}

type label struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// Runner is a registered runner, as GitHub sees it.
type Runner struct {
	ID        int64
	Name      string
	Place     string // "repos/acme/api", "orgs/acme", "enterprises/big"
	Group     int64
	Labels    []string
	Online    bool
	Busy      bool
	Ephemeral bool
}

// Runners returns all registered runners, the oldest first.
func (s *Server) Runners() []Runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Runner
	for _, id := range slices.Sorted(maps.Keys(s.runners)) {
		r := s.runners[id]
		seen := Runner{ID: r.id, Name: r.name, Place: string(r.place), Group: r.group, Online: r.session != nil, Busy: r.busy(), Ephemeral: r.ephemeral}
		for _, label := range r.labels {
			seen.Labels = append(seen.Labels, label.Name)
		}
		all = append(all, seen)
	}
	return all
}

func (r *runner) json() any {
	status := "offline"
	if r.session != nil {
		status = "online"
	}
	return map[string]any{
		"id": r.id, "name": r.name, "os": r.os, "status": status, "busy": r.busy(), "ephemeral": r.ephemeral,
		"runner_group_id": r.group, "labels": r.labels, "version": r.version,
	}
}

// newLabels gives each label an id, and makes it lower case. The default labels are read-only.
func (s *Server) newLabels(names []string) []label {
	made := []label{}
	for _, name := range names {
		kind := "custom"
		if slices.Contains([]string{"self-hosted", "linux", "x64", "arm64"}, strings.ToLower(name)) {
			kind = "read-only"
		}
		made = append(made, label{ID: s.id(), Name: strings.ToLower(name), Type: kind})
	}
	return made
}

// named finds a runner by its name, which is unique at a place. The caller must hold s.mu.
func (s *Server) named(p place, name string) *runner {
	for _, r := range s.runners {
		if r.place == p && strings.EqualFold(r.name, name) {
			return r
		}
	}
	return nil
}

func (s *Server) listRunners(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []any{}
	for _, id := range slices.Sorted(maps.Keys(s.runners)) {
		r := s.runners[id]
		if name := c.URL.Query().Get("name"); r.place == c.place && (name == "" || name == r.name) {
			all = append(all, r.json())
		}
	}
	return answer{status: http.StatusOK, body: map[string]any{"total_count": len(all), "runners": page(c.Request, all)}, paged: true, total: len(all)}
}

// at finds the runner that a call's path names. The caller must hold s.mu.
func (s *Server) at(c *call) *runner {
	if found := s.runners[c.number("id")]; found != nil && found.place == c.place {
		return found
	}
	return nil
}

func (s *Server) getRunner(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.at(c)
	if found == nil {
		return refusal(notFound)
	}
	return answer{status: http.StatusOK, body: found.json()}
}

func (s *Server) deleteRunner(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.at(c)
	switch {
	case found == nil:
		return refusal(notFound)
	case found.busy():
		return invalid("Runner \"%s\" is currently running a job and cannot be deleted.", found.name)
	}
	s.forget(found)
	return answer{status: http.StatusNoContent}
}

// forget removes a registration, and with it all that the runner could do. The caller must
// hold s.mu.
func (s *Server) forget(gone *runner) {
	gone.session = nil
	delete(s.runners, gone.id)
	s.announce()
}

func (s *Server) listGroups(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.places[c.place].groups
	return answer{status: http.StatusOK, body: map[string]any{"total_count": len(all), "runner_groups": page(c.Request, all)}, paged: true, total: len(all)}
}

func (s *Server) getRepository(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, name := s.places[c.place], c.PathValue("repo")
	return answer{status: http.StatusOK, body: map[string]any{
		"id": held.id, "name": name, "full_name": c.place.name(), "owner": map[string]any{"login": c.place.owner()},
		"private": held.visibility != Public, "visibility": held.visibility, "html_url": s.URL + "/" + c.place.name(), "default_branch": "main",
	}}
}

// AgentVersion is the runner release that the downloads endpoint offers.
const AgentVersion = "2.330.0"

func (s *Server) downloads(*call) answer {
	var all []map[string]string
	for _, arch := range []string{"x64", "arm64"} {
		file := "actions-runner-linux-" + arch + "-" + AgentVersion + ".tar.gz"
		all = append(all, map[string]string{
			"os": "linux", "architecture": arch, "filename": file,
			"download_url":    "https://github.com/actions/runner/releases/download/v" + AgentVersion + "/" + file,
			"sha256_checksum": strings.Repeat("0", 64),
		})
	}
	return answer{status: http.StatusOK, body: all}
}

// deprecates returns the date from which a version is refused, for jobs and for registrations
// alike; zero if no date is set. It knows the versions that begin with 2.3. The caller must
// hold s.mu.
func (s *Server) deprecates(version string) (from time.Time, known bool) {
	switch {
	case version == AgentVersion:
		return time.Time{}, true
	case strings.HasPrefix(version, "2.329."):
		return s.now().Add(20 * 24 * time.Hour), true
	case strings.HasPrefix(version, "2.3"):
		return s.now().Add(-20 * 24 * time.Hour), true
	}
	return time.Time{}, false
}

func (s *Server) deprecation(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, known := s.deprecates(c.PathValue("version"))
	if !known {
		return refusal(notFound)
	}
	return answer{status: http.StatusOK, body: map[string]any{"runtime_deprecates_at": stamp(from), "registration_deprecates_at": stamp(from)}}
}

// tooOld reports whether an agent of the version can no longer register. The caller must hold
// s.mu.
func (s *Server) tooOld(version string) bool {
	version, _, _ = strings.Cut(version, "-")
	from, known := s.deprecates(version)
	return known && !from.IsZero() && from.Before(s.now())
}
