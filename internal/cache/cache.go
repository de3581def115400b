// Package cache is the cache of a host: one process that serves the jobs of all its runners. It
// joins the service for actions and the mirror of registries, which share one store, and has a way
// in for the operator that no job reaches. It imports only its own rooms.
package cache

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/netutil"

	"github.com/runnerctl/runnerctl/internal/cache/actions"
	"github.com/runnerctl/runnerctl/internal/cache/archives"
	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/mirror"
	"github.com/runnerctl/runnerctl/internal/cache/store"
	"github.com/runnerctl/runnerctl/internal/cache/token"
)

// Config is the configuration of a host's cache, in JSON.
type Config struct {
	Size       int64             `json:"size"`                 // bytes
	Actions    bool              `json:"actions"`              // serves actions/cache and BuildKit's type=gha
	Registries []string          `json:"registries,omitempty"` // that are mirrored
	Upstreams  map[string]string `json:"upstreams,omitempty"`  // URLs that are asked in a registry's place
	Targets    []Target          `json:"targets,omitempty"`
	Proxy      *httpproxy.Config `json:"proxy,omitempty"` // for GitHub and registries, without a password
}

// Target is a GitHub whose jobs use the cache.
type Target struct {
	Name    string `json:"name"`    // like github.com
	Issuer  string `json:"issuer"`  // of the tokens of its jobs
	Results string `json:"results"` // URL of its results service
	API     string `json:"api"`     // URL of its REST API
}

const (
	maxAge        = 7 * 24 * time.Hour // since the last use, as at GitHub
	maxIdle       = 2 * time.Hour      // of an upload
	maxUploads    = 64                 // unfinished ones of a job
	maxEntries    = 10_000             // of a repository
	expiry        = 10 * time.Minute   // between two removals
	headerLimit   = 10 * time.Second
	shutdownLimit = 5 * time.Second
	stallLimit    = 2 * time.Minute // without a byte of a transfer, or a request
	answerLimit   = time.Minute     // of GitHub and registries, for the headers
	downloadLimit = 5 * time.Minute // of the archive of an action
	mostLogins    = 1 << 20         // bytes
	mostHeaders   = 64 << 10        // bytes
	// maxConnections bounds the memory of all transfers. Each takes a buffer of some 100 KiB.
	maxConnections = 512
)

// limits returns the limits of the store. No repository may take more than half of the cache.
func (c Config) limits() store.Limits {
	return store.Limits{Size: c.Size, Repository: c.Size / 2, Age: maxAge, Idle: maxIdle, Uploads: maxUploads, Entries: maxEntries}
}

// Server is the process.
type Server struct {
	Folder   string // of the store, the keys of issuers and the secret
	Archives string // folder of the archives of actions
	Config   Config
	Log      *slog.Logger
	Now      func() time.Time

	store  *store.Store
	counts *counts.Counts
	used   *archives.Used
	logins *logins
	images *mirror.Mirror
	out    *http.Transport
	jobs   http.Handler
}

// Open prepares the folder.
func (s *Server) Open() error {
	secret, err := secretIn(filepath.Join(s.Folder, "secret"))
	if err != nil {
		return err
	}
	if s.store, err = store.Open(s.Folder, s.Config.limits(), s.Now); err != nil {
		return err
	}
	s.logins = loginsIn(s.Folder, s.Log)
	s.counts = &counts.Counts{}
	s.out = s.Config.transport()
	if s.used, err = s.archives(); err != nil {
		return err
	}
	s.jobs, err = s.forJobs(secret)
	return err
}

// transport reaches GitHub and the registries.
func (c Config) transport() *http.Transport {
	out := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert,errorlint // net/http documents it
	out.ResponseHeaderTimeout = answerLimit
	if c.Proxy != nil {
		proxy := c.Proxy.ProxyFunc()
		out.Proxy = func(r *http.Request) (*url.URL, error) { return proxy(r.URL) }
	}
	return out
}

// archives returns the archives of actions that jobs of the targets use.
func (s *Server) archives() (*archives.Used, error) {
	used := &archives.Used{
		Archives: archives.Archives{Folder: s.Archives, Limit: s.Config.Size / 10, Client: &http.Client{Transport: s.out, Timeout: downloadLimit}, Now: s.Now},
		Log:      s.Log, Waiting: archives.NewWaiting(),
	}
	for _, one := range s.Config.Targets {
		used.APIs = append(used.APIs, one.API)
	}
	return used, used.Clean()
}

// secretIn returns the secret that signs URLs, so that they stay valid over a restart.
func secretIn(path string) ([]byte, error) {
	const length = 32
	if secret, err := os.ReadFile(path); err == nil && len(secret) == length {
		return secret, nil
	}
	secret := make([]byte, length)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return secret, os.WriteFile(path, secret, 0o600)
}

// forJobs returns the side of the jobs.
func (s *Server) forJobs(secret []byte) (http.Handler, error) {
	service := &actions.Service{Store: s.store, Secret: secret, Now: s.Now, Counts: s.counts, Transport: s.out}
	for _, one := range s.Config.Targets {
		results, err := url.Parse(one.Results)
		if err != nil {
			return nil, fmt.Errorf("results service of %s: %w", one.Name, err)
		}
		service.Targets = append(service.Targets, actions.Target{
			Name: one.Name, Issuer: one.Issuer, Results: results,
			Tokens: token.Verifier{Issuer: one.Issuer, Now: s.Now, Keys: &token.Fetched{
				Issuer: one.Issuer, Client: &http.Client{Transport: s.out}, File: filepath.Join(s.Folder, "keys-"+url.PathEscape(one.Name)), Now: s.Now,
			}},
		})
	}
	s.images = &mirror.Mirror{
		Store: s.store, Registries: s.Config.Registries, Upstreams: s.Config.Upstreams, Transport: s.out, Log: s.Log,
		Login: s.logins.of, Counts: s.counts,
	}
	return patient(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/"):
			s.images.ServeHTTP(w, r)
		case s.Config.Actions && r.URL.Path == archives.Path:
			s.used.ServeHTTP(w, r)
		case s.Config.Actions:
			service.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})), nil
}

// Serve serves jobs and the operator until ctx ends. Nothing of a finished entry is lost then.
func (s *Server) Serve(ctx context.Context, jobs, operator net.Listener) error {
	servers := []*http.Server{
		{Handler: s.jobs, ReadHeaderTimeout: headerLimit, IdleTimeout: stallLimit, MaxHeaderBytes: mostHeaders},
		{Handler: s.operator(), ReadHeaderTimeout: headerLimit},
	}
	failures := make(chan error, len(servers))
	for i, listener := range []net.Listener{netutil.LimitListener(jobs, maxConnections), operator} {
		go func() { failures <- servers[i].Serve(listener) }()
	}
	go s.used.Run(ctx)
	ticks := time.NewTicker(expiry)
	defer ticks.Stop()
	for {
		select {
		case err := <-failures:
			return err
		case <-ticks.C:
			s.expire()
		case <-ctx.Done():
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
			defer cancel()
			var problems []error
			for _, server := range servers {
				if err := server.Shutdown(limited); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					problems = append(problems, err)
				}
			}
			return errors.Join(problems...)
		}
	}
}

func (s *Server) expire() {
	entries, err := s.store.Expire()
	old, other := s.used.Prune(maxAge)
	if err := errors.Join(err, other); err != nil {
		s.Log.Error("remove unused entries", "error", err)
	}
	if count := len(entries) + len(old); count > 0 {
		s.Log.Info("removed unused entries", "count", count)
	}
}

// Report is the state of a cache.
type Report struct {
	Entries []store.Entry `json:"entries"`
	// Archives are those of actions.
	Archives []archives.Archive `json:"archives"`
}

// Pruned are the removed entries and archives.
type Pruned struct {
	Entries  []store.Entry      `json:"entries"`
	Archives []archives.Archive `json:"archives"`
}

func (s *Server) prune(unused time.Duration) (removed Pruned, err error) {
	var other error
	removed.Entries, err = s.store.Prune(unused)
	removed.Archives, other = s.used.Prune(unused)
	return removed, errors.Join(err, other)
}

// operator returns the handler of the requests of runnerctl cache.
func (s *Server) operator() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		kept, err := s.used.List()
		answer(w, Report{Entries: s.store.List(), Archives: kept}, err)
	})
	mux.HandleFunc("GET /reach", func(w http.ResponseWriter, r *http.Request) { answer(w, s.reach(r.Context()), nil) })
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.counts.Now(), nil) })
	mux.HandleFunc("GET /counts/runners", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.counts.Runners(), nil) })
	mux.HandleFunc("DELETE /counts/{runner}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.counts.Take(r.PathValue("runner")), nil)
	})
	mux.HandleFunc("PUT /logins", func(w http.ResponseWriter, r *http.Request) {
		var all map[string]Login
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostLogins)).Decode(&all)
		if err == nil {
			err = s.logins.set(all)
			s.images.Forget()
		}
		answer(w, struct{}{}, err)
	})
	mux.HandleFunc("DELETE /entries/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		if archives.IsCommit(id) {
			answer(w, struct{}{}, s.used.Remove(id))
			return
		}
		answer(w, struct{}{}, s.store.Remove(id))
	})
	mux.HandleFunc("POST /archives", func(w http.ResponseWriter, r *http.Request) {
		made, err := s.used.Warm(r.Context(), r.URL.Query().Get("action"))
		answer(w, made, err)
	})
	mux.HandleFunc("POST /prune", func(w http.ResponseWriter, r *http.Request) {
		unused, err := time.ParseDuration(r.URL.Query().Get("unused"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		removed, err := s.prune(unused)
		answer(w, removed, err)
	})
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, _ *http.Request) {
		damaged, err := s.store.Verify()
		answer(w, damaged, err)
	})
	return mux
}

func answer(w http.ResponseWriter, value any, err error) {
	switch {
	case errors.Is(err, store.ErrUnknown), errors.Is(err, archives.ErrUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value) // the client has gone
	}
}

// Listen listens on a Unix socket and replaces an earlier one. Any process that reaches its folder can
// connect if the mode allows it.
func Listen(path string, mode uint32) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, os.FileMode(mode)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}
