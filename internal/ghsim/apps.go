package ghsim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// asApp handles calls that an App makes for itself, with a JWT signed by its key.
func (s *Server) asApp(do func(*app, *http.Request) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		asking, wrong := s.appOf(r)
		s.mu.Unlock()
		if asking == nil {
			s.respond(w, r, refusal(&problem{status: http.StatusUnauthorized, message: wrong}))
			return
		}
		recordOf(r).Who = "App " + strconv.FormatInt(asking.id, 10)
		s.respond(w, r, do(asking, r))
	}
}

func (s *Server) installations(a *app, r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []any
	for _, id := range slices.Sorted(maps.Keys(a.installations)) {
		all = append(all, a.installations[id].json())
	}
	return answer{status: http.StatusOK, body: page(r, all), paged: true, total: len(all)}
}

func (i *installation) json() any {
	return map[string]any{"id": i.id, "account": map[string]any{"login": i.owner}, "permissions": i.permissions, "repository_selection": "all"}
}

func (s *Server) installationOf(a *app, p place) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, found := range a.installations {
		if found.owner == p.owner() && s.places[p] != nil {
			return answer{status: http.StatusOK, body: found.json()}
		}
	}
	return refusal(notFound)
}

func (s *Server) accessToken(a *app, r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	found := a.installations[id]
	if found == nil {
		return refusal(notFound)
	}
	who := &actor{name: "installation " + strconv.FormatInt(id, 10), owner: found.owner, permissions: found.permissions, integration: true}
	token := s.issue("ghs_", who, time.Hour)
	return answer{status: http.StatusCreated, body: map[string]any{
		"token": token, "expires_at": who.expires.UTC().Format(time.RFC3339), "permissions": found.permissions, "repository_selection": "all",
	}}
}
