package ghsim

import (
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Drop is the point at which a connection is cut.
type Drop int

// The connection is cut before or after the request takes effect.
const (
	NoDrop Drop = iota
	DropBefore
	DropAfter
)

// Fault describes how calls go wrong. Match is a method (or *) and a path without /api/v3,
// such as "POST /orgs/*/actions/runners/generate-jitconfig". A * stands for one part of the
// path; a path that ends in /** matches all paths below it.
type Fault struct {
	Match      string        // method and path, see above
	Skip       int           // how many matching calls succeed first
	Times      int           // how many fail after that; 0: all, until removed
	Latency    time.Duration // before anything else happens
	Drop       Drop          // of the connection
	Status     int           // answered instead of GitHub's status, if not 0
	Body       string        // body of that answer; if empty, GitHub's JSON for the status
	HTML       bool          // the body is HTML, like a proxy's
	RetryAfter time.Duration // header of that answer, in whole seconds, if not 0
}

// SecondaryLimit is GitHub's answer to a client that sends too many requests at once.
func SecondaryLimit(match string, times int, retryAfter time.Duration) Fault {
	return Fault{Match: match, Times: times, Status: http.StatusForbidden, RetryAfter: retryAfter,
		Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`}
}

// BadGateway is an answer with an HTML body, like that of a proxy in front of GitHub.
func BadGateway(match string, times int) Fault {
	return Fault{Match: match, Times: times, Status: http.StatusBadGateway, HTML: true,
		Body: "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1>\n<p>The server returned an invalid or incomplete response.</p></body></html>\n"}
}

// Inject makes matching calls go wrong until remove is called. If several faults match, the
// oldest active fault applies.
func (s *Server) Inject(fault Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault.Times == 0 {
		fault.Times = -1
	}
	held := &fault
	s.faults = append(s.faults, held)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *Fault) bool { return other == held })
	}
}

// DropSessions forgets all sessions, as GitHub does now and then. The listeners learn of it at
// their next poll.
func (s *Server) DropSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runners {
		if r.session != nil {
			r.session = nil
			s.requeueUnacquired(r)
		}
	}
	s.announce()
}

// faultFor finds the fault for a request and counts it.
func (s *Server) faultFor(method, path string) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range s.faults {
		if fault.Times == 0 || !fault.matches(method, path) {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		if fault.Times > 0 {
			fault.Times--
		}
		return *fault, true
	}
	return Fault{}, false
}

func (f *Fault) matches(method, actual string) bool {
	wantMethod, wantPath, _ := strings.Cut(f.Match, " ")
	if wantMethod != "*" && wantMethod != method {
		return false
	}
	actual = strings.TrimPrefix(actual, apiPrefix)
	if below, all := strings.CutSuffix(wantPath, "/**"); all {
		parts := strings.Count(below, "/") + 1
		if all := strings.SplitN(actual, "/", parts+1); len(all) > parts {
			actual = strings.Join(all[:parts], "/")
		}
		wantPath = below
	}
	matched, err := path.Match(wantPath, actual)
	return err == nil && matched
}

func (s *Server) faulty(w http.ResponseWriter, r *http.Request, next http.Handler) {
	fault, found := s.faultFor(r.Method, r.URL.Path)
	if !found {
		next.ServeHTTP(w, r)
		return
	}
	recordOf(r).Fault = true
	select {
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	case <-time.After(fault.Latency):
	}
	switch {
	case fault.Drop == DropBefore:
		panic(http.ErrAbortHandler)
	case fault.Drop == DropAfter:
		next.ServeHTTP(&nowhere{header: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case fault.Status == 0:
		next.ServeHTTP(w, r)
		return
	}
	if fault.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter.Seconds())))
	}
	contentType, body := "application/json; charset=utf-8", fault.Body
	if fault.HTML {
		contentType = "text/html; charset=utf-8"
	}
	if body == "" {
		body = `{"message":"` + http.StatusText(fault.Status) + `"}`
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(fault.Status)
	_, _ = io.WriteString(w, body)
}

// nowhere discards an answer.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header               { return n.header }
func (n *nowhere) Write(content []byte) (int, error) { return len(content), nil }
func (n *nowhere) WriteHeader(int)                   {}
