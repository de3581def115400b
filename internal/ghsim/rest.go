package ghsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	apiPrefix   = "/api/v3"
	perHour     = time.Hour
	apiVersion  = "2022-11-28"
	documentURL = "https://docs.github.com/rest"
)

// problem is an answer that reports an error.
type problem struct {
	status              int
	message             string
	acceptedScopes      string
	acceptedPermissions string
}

var notFound = &problem{status: http.StatusNotFound, message: "Not Found"}

// answer is an answer of the API.
type answer struct {
	status int
	body   any // nil: no body
	total  int // length of the whole list, for its Link header; the body is one page
	paged  bool
	refuse *problem
}

func refusal(p *problem) answer { return answer{refuse: p} }

func invalid(format string, args ...any) answer {
	return refusal(&problem{status: http.StatusUnprocessableEntity, message: fmt.Sprintf(format, args...)})
}

// call is a call to the API.
type call struct {
	*http.Request
	place place
	actor *actor
	body  []byte
}

// read decodes the body.
func (c *call) read(into any) bool { return json.Unmarshal(c.body, into) == nil }

func (c *call) number(name string) int64 {
	number, _ := strconv.ParseInt(c.PathValue(name), 10, 64)
	return number
}

// restHandler serves the API at the root, as api.github.com does, and below /api/v3, as a
// GitHub Enterprise Server does.
func (s *Server) restHandler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, n need, placeOf func(*http.Request) place, do func(*call) answer) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.rest(w, r, n, placeOf, do) })
	}
	inPath := func(prefix string) func(*http.Request) place {
		return func(r *http.Request) place {
			if repo := r.PathValue("repo"); repo != "" {
				return place(prefix + "/" + r.PathValue("owner") + "/" + repo)
			}
			return place(prefix + "/" + r.PathValue("owner"))
		}
	}
	read, write := need{permission: repoRunners, level: "read"}, need{permission: repoRunners, level: "write"}
	actions := need{permission: "actions", level: "read"}
	for kind, prefix := range map[string]string{"repos": "/repos/{owner}/{repo}", "orgs": "/orgs/{owner}", "enterprises": "/enterprises/{owner}"} {
		placeOf, runners := inPath(kind), prefix+"/actions/runners"
		handle("POST "+runners+"/registration-token", write, placeOf, s.registrationToken)
		handle("POST "+runners+"/remove-token", write, placeOf, s.removeToken)
		if s.hasJIT() {
			handle("POST "+runners+"/generate-jitconfig", write, placeOf, s.generateJIT)
		}
		handle("GET "+runners, need{permission: repoRunners, level: "read", admin: true}, placeOf, s.listRunners)
		handle("GET "+runners+"/downloads", read, placeOf, s.downloads)
		handle("GET "+runners+"/deprecations/{version}", read, placeOf, s.deprecation)
		handle("GET "+runners+"/{id}", read, placeOf, s.getRunner)
		handle("DELETE "+runners+"/{id}", need{permission: repoRunners, level: "write", remove: true}, placeOf, s.deleteRunner)
		handle("GET "+prefix+"/actions/runner-groups", need{permission: repoRunners, level: "read", admin: true}, placeOf, s.listGroups)
		mux.HandleFunc("GET "+prefix+"/installation", s.asApp(func(a *app, r *http.Request) answer { return s.installationOf(a, placeOf(r)) }))
	}
	handle("GET /repos/{owner}/{repo}", need{permission: "metadata", level: "read"}, inPath("repos"), s.getRepository)
	handle("GET /repos/{owner}/{repo}/actions/runs", actions, inPath("repos"), s.listRuns)
	handle("GET /repos/{owner}/{repo}/actions/runs/{id}/jobs", actions, inPath("repos"), s.listJobs)
	handle("GET /repos/{owner}/{repo}/actions/jobs/{id}", actions, inPath("repos"), s.getJob)
	mux.HandleFunc("GET /app", s.asApp(func(a *app, _ *http.Request) answer {
		return answer{status: http.StatusOK, body: map[string]any{"id": a.id, "slug": "stand-in", "name": "stand-in"}}
	}))
	mux.HandleFunc("GET /app/installations", s.asApp(s.installations))
	mux.HandleFunc("POST /app/installations/{id}/access_tokens", s.asApp(s.accessToken))
	mux.HandleFunc("POST /actions/runner-registration", func(w http.ResponseWriter, r *http.Request) { s.respond(w, r, s.runnerRegistration(r)) })
	mux.HandleFunc("POST /actions/runners/register", func(w http.ResponseWriter, r *http.Request) { s.respond(w, r, s.registerRunner(r)) })
	mux.HandleFunc("GET /meta", func(w http.ResponseWriter, r *http.Request) {
		s.respond(w, r, answer{status: http.StatusOK, body: map[string]any{"verifiable_password_authentication": true, "installed_version": s.options.Version}})
	})
	mux.HandleFunc("GET /rate_limit", s.rateLimitStatus)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.respond(w, r, refusal(notFound)) })
	below := http.StripPrefix(apiPrefix, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, apiPrefix+"/") {
			below.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// rest answers one call. It checks in GitHub's order: credential, rate limit, permission, and
// then the call itself.
func (s *Server) rest(w http.ResponseWriter, r *http.Request, n need, placeOf func(*http.Request) place, do func(*call) answer) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		s.respond(w, r, refusal(&problem{status: http.StatusBadRequest, message: "Problems reading the body"}))
		return
	}
	c := &call{Request: r, place: placeOf(r), body: body}
	s.mu.Lock()
	c.actor = s.who(r)
	if c.actor == nil {
		s.mu.Unlock()
		refused := &problem{status: http.StatusUnauthorized, message: "Bad credentials"}
		if r.Header.Get("Authorization") == "" {
			refused.message = "Requires authentication"
		}
		s.respond(w, r, refusal(refused))
		return
	}
	recordOf(r).Who = c.actor.name
	exceeded := s.rate.take(s.now())
	if c.actor.classic != nil {
		w.Header().Set("X-OAuth-Scopes", strings.Join(c.actor.classic, ", "))
	}
	refused := s.allows(c.actor, c.place, n)
	s.mu.Unlock()
	switch {
	case exceeded:
		s.respond(w, r, refusal(&problem{status: http.StatusForbidden, message: "API rate limit exceeded for user ID 1."}))
	case refused != nil:
		s.respond(w, r, refusal(refused))
	default:
		s.respond(w, r, do(c))
	}
}

// respond writes an answer with the headers that all of GitHub's answers have.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, a answer) {
	s.mu.Lock()
	header := w.Header()
	header.Set("Date", s.now().UTC().Format(http.TimeFormat))
	s.rate.tell(header, s.now())
	header.Set("X-GitHub-Request-Id", fmt.Sprintf("%04X:%X", s.id(), s.now().UnixNano()))
	s.mu.Unlock()
	header.Set("X-GitHub-Api-Version-Selected", apiVersion)
	if a.refuse != nil {
		if a.refuse.acceptedScopes != "" {
			header.Set("X-Accepted-OAuth-Scopes", a.refuse.acceptedScopes)
		}
		if a.refuse.acceptedPermissions != "" {
			header.Set("X-Accepted-GitHub-Permissions", a.refuse.acceptedPermissions)
		}
		writeJSON(w, a.refuse.status, map[string]string{"message": a.refuse.message, "documentation_url": documentURL, "status": strconv.Itoa(a.refuse.status)})
		return
	}
	if a.paged {
		if link := links(r, s.base(r), a.total); link != "" {
			header.Set("Link", link)
		}
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	writeJSON(w, a.status, a.body)
}

// writeJSON sets the length, because GitHub's runner treats an answer without one as empty
// (Sdk/WebApi/WebApi/OAuth/VssOAuthTokenHttpClient.cs:158-171).
func writeJSON(w http.ResponseWriter, status int, body any) {
	text, _ := json.Marshal(body) // can't fail: JSON's types only
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}

// base returns the URL under which r reached this server.
func (s *Server) base(r *http.Request) string {
	if r.TLS == nil {
		return s.RunnerURL
	}
	return "https://" + r.Host
}

// page returns the part of a list that a call asks for.
func page[T any](r *http.Request, all []T) []T {
	number, size := pageOf(r.URL.Query())
	from := min((number-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

func pageOf(query url.Values) (number, size int) {
	number, size = 1, 30
	if asked, err := strconv.Atoi(query.Get("page")); err == nil && asked > 0 {
		number = asked
	}
	if asked, err := strconv.Atoi(query.Get("per_page")); err == nil && asked > 0 {
		size = min(asked, 100)
	}
	return number, size
}

func links(r *http.Request, base string, total int) string {
	number, size := pageOf(r.URL.Query())
	last := max(1, (total+size-1)/size)
	var found []string
	add := func(relation string, page int) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(page))
		found = append(found, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, base, recordOf(r).Path, query.Encode(), relation))
	}
	if number > 1 {
		add("prev", number-1)
	}
	if number < last {
		add("next", number+1)
		add("last", last)
	}
	if number > 1 {
		add("first", 1)
	}
	return strings.Join(found, ", ")
}

// rateLimit is the primary rate limit. This stand-in counts all tokens together.
type rateLimit struct {
	limit, used int
	reset       time.Time
}

// SetRateLimit sets how many calls an hour are allowed, and resets the count.
func (s *Server) SetRateLimit(limit int, reset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = rateLimit{limit: limit, reset: s.now().Add(reset)}
}

func (l *rateLimit) take(now time.Time) (exceeded bool) {
	if now.After(l.reset) {
		l.used, l.reset = 0, now.Add(perHour)
	}
	l.used++
	return l.used > l.limit
}

func (l *rateLimit) tell(header http.Header, now time.Time) {
	reset := l.reset
	if reset.IsZero() {
		reset = now.Add(perHour)
	}
	header.Set("X-RateLimit-Limit", strconv.Itoa(l.limit))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, l.limit-l.used)))
	header.Set("X-RateLimit-Used", strconv.Itoa(min(l.used, l.limit)))
	header.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	header.Set("X-RateLimit-Resource", "core")
}

func (s *Server) rateLimitStatus(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	core := map[string]int64{"limit": int64(s.rate.limit), "used": int64(s.rate.used), "remaining": int64(max(0, s.rate.limit-s.rate.used)), "reset": s.rate.reset.Unix()}
	s.mu.Unlock()
	s.respond(w, r, answer{status: http.StatusOK, body: map[string]any{"resources": map[string]any{"core": core}, "rate": core}})
}
