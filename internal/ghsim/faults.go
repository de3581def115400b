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

// Drop is when a connection is cut.
type Drop int

// Before or after the request has had its effect.
const (
	NoDrop Drop = iota
	DropBefore
	DropAfter
)

// Fault is how calls go wrong.
type Fault struct {
	Match      string        // "POST /orgs/*/actions/runners/generate-jitconfig": method (or *) and path without /api/v3, a * for one part; a path that ends in /** is all below
	Skip       int           // how many matching calls go well first
	Times      int           // how many go wrong then; 0: all, until removed
	Latency    time.Duration // before anything else
	Drop       Drop          // of the connection
	Status     int           // answered instead of GitHub's, if not 0
	Body       string        // of that answer; GitHub's JSON for the status, if empty
	HTML       bool          // the body is HTML, as a proxy's
	RetryAfter time.Duration // header of that answer, in whole seconds, if not 0
}

// SecondaryLimit is GitHub's answer to who asks too much at once.
func SecondaryLimit(match string, times int, retryAfter time.Duration) Fault {
	return Fault{Match: match, Times: times, Status: http.StatusForbidden, RetryAfter: retryAfter,
		Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`}
}

// BadGateway is an answer with an HTML body, as of a proxy before GitHub.
func BadGateway(match string, times int) Fault {
	return Fault{Match: match, Times: times, Status: http.StatusBadGateway, HTML: true,
		Body: "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1>\n<p>The server returned an invalid or incomplete response.</p></body></html>\n"}
}

// Inject makes matching calls go wrong, until remove is called. Of several
// faults that match, the oldest that still holds is taken.
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

// DropSessions forgets all sessions, as GitHub now and then does: the listeners are told
// at their next poll.
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

// faultFor finds the one for a request and counts it.
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

// nowhere takes an answer that nobody will read.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header               { return n.header }
func (n *nowhere) Write(content []byte) (int, error) { return len(content), nil }
func (n *nowhere) WriteHeader(int)                   {}
