// Package actions serves the cache of actions/cache, of the setup actions and of BuildKit's
// type=gha: GitHub's cache service, version 2. Four requests are all that its clients make
// (actions/toolkit, packages/cache/src/internal/cacheTwirpClient.ts; tonistiigi/go-actions-cache,
// cache_v2.go). Every other request for GitHub's results service goes on to GitHub, unchanged.
package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
	"github.com/runnerctl/runnerctl/internal/cache/token"
)

// Verifier verifies the token of a job.
type Verifier interface {
	Verify(ctx context.Context, text string) (token.Identity, error)
}

// Service is an http.Handler.
type Service struct {
	Store     *store.Store
	Targets   []Target
	Secret    []byte // signs the URLs of blobs
	Now       func() time.Time
	Counts    *counts.Counts
	Transport http.RoundTripper // to GitHub
}

// Target is a GitHub whose jobs use the cache.
type Target struct {
	Name    string   // prefix of its repositories, whose numbers are not unique among targets
	Issuer  string   // of its tokens
	Results *url.URL // its results service; never from a job
	Tokens  Verifier
}

// target returns the target of a request, and its token. The token is not verified yet.
func (s *Service) target(r *http.Request) (to Target, given string, found bool) {
	given, found = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return Target{}, "", false
	}
	issuer := token.Issuer(given)
	for _, one := range s.Targets {
		if one.Issuer == issuer {
			return one, given, true
		}
	}
	return Target{}, "", false
}

// Paths of the service.
const (
	twirp      = "/twirp/"
	service    = twirp + "github.actions.results.api.v1.CacheService/"
	create     = service + "CreateCacheEntry"
	finalize   = service + "FinalizeCacheEntryUpload"
	download   = service + "GetCacheEntryDownloadURL"
	blobs      = "/blobs/"
	mostAsked  = 64 << 10 // bytes of a request
	mostKey    = 512      // characters, as in GitHub's clients
	mostOthers = 10       // restore keys, as in GitHub's clients
)

// request has the fields of all three methods.
type request struct {
	Key     string   `json:"key"`
	Version string   `json:"version"`
	Restore []string `json:"restore_keys"`
	Size    decimal  `json:"size_bytes"`
}

// decimal is a number, or a number in a string.
type decimal int64

// UnmarshalJSON implements json.Unmarshaler.
func (d *decimal) UnmarshalJSON(text []byte) error {
	if _, err := fmt.Sscanf(strings.Trim(string(text), `"`), "%d", (*int64)(d)); err != nil {
		return fmt.Errorf("%s is not a number of bytes", text)
	}
	return nil
}

// reply has the fields of all answers; those without a value are left out.
type reply struct {
	OK          bool   `json:"ok"`
	Message     string `json:"message,omitempty"`
	UploadURL   string `json:"signed_upload_url,omitempty"`
	DownloadURL string `json:"signed_download_url,omitempty"`
	Key         string `json:"matched_key,omitempty"`
	ID          string `json:"entry_id,omitempty"`
}

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := r.URL.Path
	switch {
	case at != path.Clean(at):
		http.NotFound(w, r)
	case strings.HasPrefix(at, blobs):
		s.blob(w, r)
	case strings.HasPrefix(at, twirp):
		to, given, found := s.target(r)
		switch {
		case !found:
			refuse(w, http.StatusUnauthorized, "unauthenticated", "no token of a known issuer")
		case at == create || at == finalize || at == download:
			s.call(w, r, to, given)
		default:
			s.forward(w, r, to.Results)
		}
	default:
		http.NotFound(w, r)
	}
}

// forward passes a request on to GitHub.
func (s *Service) forward(w http.ResponseWriter, r *http.Request, to *url.URL) {
	proxy := httputil.ReverseProxy{
		Transport: s.Transport, FlushInterval: -1, // at once
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(to)
			request.Out.Host = to.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, http.StatusBadGateway, "unavailable", fmt.Sprintf("%s: %v", to.Host, err))
		},
	}
	proxy.ServeHTTP(w, r)
}

// call answers one of the three methods. If a token can't be verified for now, because the
// issuer's keys can't be fetched, GitHub's own cache answers.
func (s *Service) call(w http.ResponseWriter, r *http.Request, to Target, given string) {
	if r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, "bad_route", "only POST")
		return
	}
	who, err := to.Tokens.Verify(r.Context(), given)
	switch {
	case errors.Is(err, token.ErrRefused):
		refuse(w, http.StatusUnauthorized, "unauthenticated", err.Error())
		return
	case err != nil:
		s.forward(w, r, to.Results)
		return
	}
	who.Repository = to.Name + "/" + who.Repository
	var asked request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostAsked)).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", err.Error())
		return
	}
	if problem := asked.problem(); problem != "" {
		refuse(w, http.StatusBadRequest, "invalid_argument", problem)
		return
	}
	switch r.URL.Path {
	case create:
		s.create(w, r, who, asked)
	case finalize:
		s.finalize(w, r, who, asked)
	default:
		s.download(w, r, who, asked)
	}
}

// problem returns the fault of a request; "" if there is none.
func (r request) problem() string {
	if len(r.Restore) > mostOthers {
		return fmt.Sprintf("%d restore keys, more than %d", len(r.Restore), mostOthers)
	}
	if r.Key == "" || r.Version == "" || len(r.Version) > mostKey {
		return "a key and a version are required"
	}
	for _, key := range append([]string{r.Key}, r.Restore...) {
		if len([]rune(key)) > mostKey {
			return fmt.Sprintf("a key has more than %d characters", mostKey)
		}
		if strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Sprintf("the key %q has a control character", key)
		}
	}
	return ""
}

// create answers a URL for an upload. Clients treat a denied write as policy and continue.
func (s *Service) create(w http.ResponseWriter, r *http.Request, who token.Identity, asked request) {
	scope, may := who.Writable()
	if !may {
		answer(w, reply{Message: "cache write denied: the token grants no scope to write to"})
		return
	}
	id, err := s.Store.Reserve(store.Owner{Repository: who.Repository, Scope: scope, Job: who.Job}, asked.Key, asked.Version)
	switch {
	case errors.Is(err, store.ErrExists):
		refuse(w, http.StatusConflict, "already_exists", err.Error())
	case errors.Is(err, store.ErrMany):
		refuse(w, http.StatusTooManyRequests, "resource_exhausted", err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
	default:
		answer(w, reply{OK: true, UploadURL: s.sign(r.Host, upload, id)})
	}
}

func (s *Service) finalize(w http.ResponseWriter, r *http.Request, who token.Identity, asked request) {
	scope, _ := who.Writable()
	made, err := s.Store.Finalize(store.Owner{Repository: who.Repository, Scope: scope, Job: who.Job}, asked.Key, asked.Version, int64(asked.Size))
	switch {
	case errors.Is(err, store.ErrExists):
		refuse(w, http.StatusConflict, "already_exists", err.Error())
	case errors.Is(err, store.ErrUnknown):
		refuse(w, http.StatusNotFound, "not_found", err.Error())
	case errors.Is(err, store.ErrSize):
		refuse(w, http.StatusBadRequest, "invalid_argument", err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
	default:
		s.Counts.Add(counts.Runner(r), func(c *counts.Count) { c.SavedBytes += made.Size })
		answer(w, reply{OK: true, ID: made.ID})
	}
}

func (s *Service) download(w http.ResponseWriter, r *http.Request, who token.Identity, asked request) {
	found, hit := s.Store.Find(store.Query{
		Repository: who.Repository, Scopes: who.Readable(), Version: asked.Version, Key: asked.Key, Restore: asked.Restore,
	})
	if !hit {
		s.Counts.Add(counts.Runner(r), func(c *counts.Count) { c.Misses++ })
		answer(w, reply{})
		return
	}
	s.Counts.Add(counts.Runner(r), func(c *counts.Count) { c.Hits++ })
	answer(w, reply{OK: true, DownloadURL: s.sign(r.Host, restore, found.ID), Key: found.Key})
}

func answer(w http.ResponseWriter, with reply) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(with) // the client has gone
}

// refuse answers an error of Twirp. The connection is closed, because a client that does not read
// the answer would keep its process alive.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "msg": message}) // the client has gone
}

// drain reads the rest of a small body, so that the client gets the answer.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, mostAsked) }
