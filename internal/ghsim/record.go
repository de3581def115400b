package ghsim

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Request is a request that was answered. It holds no secret: no header, no body, and only
// harmless parameters of the query.
type Request struct {
	At       time.Time // real time, without the clock offset
	Method   string
	Path     string // as requested, with /api/v3
	Query    string
	Status   int // 0: the connection was dropped
	Who      string
	Duration time.Duration
	Fault    bool   // answered, delayed or dropped by a fault
	Refused  string // why GitHub's runner would not send such a request
}

// Requests returns all requests so far, in the order in which they were answered.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

var harmless = []string{"page", "per_page", "name", "status", "runnerVersion", "os", "architecture", "comp"}

type recordKey struct{}

// recordOf returns the record of the request that is being answered.
func recordOf(r *http.Request) *Request { return r.Context().Value(recordKey{}).(*Request) }

// recorded records each request that next answers, and applies faults first.
func (s *Server) recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record := &Request{At: time.Now(), Method: r.Method, Path: r.URL.Path, Query: kept(r.URL.Query())}
		seen := &statusWriter{ResponseWriter: w}
		defer func() {
			problem := recover()
			record.Status, record.Duration = seen.status, time.Since(record.At)
			if problem != nil {
				record.Status = 0
			}
			s.mu.Lock()
			s.records = append(s.records, *record)
			s.mu.Unlock()
			if problem != nil {
				panic(problem)
			}
		}()
		s.faulty(seen, r.WithContext(context.WithValue(r.Context(), recordKey{}, record)), next)
	})
}

func kept(query url.Values) string {
	for key := range query {
		if !slices.Contains(harmless, key) {
			query.Del(key)
		}
	}
	return query.Encode()
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(content []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(content)
}

// Unwrap lets the web socket take over the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
