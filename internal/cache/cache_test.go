package cache

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/runnerctl/runnerctl/internal/cache/counts"
)

// github is an issuer of tokens and a results service.
type github struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newGitHub(t *testing.T) *github {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g := &github{key: key}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/jwks" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Use: "sig", Algorithm: "RS256"}}})
			return
		}
		_, _ = io.WriteString(w, "results of "+r.URL.Path)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *github) token(t *testing.T, repository string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: g.key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": g.URL, "exp": time.Now().Add(time.Hour).Unix(), "repository_id": repository, "scp": "Actions.Results:run:job", "ac": `[{"Scope":"refs/heads/main","Permission":3}]`,
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// fixture is a server on sockets of its own.
type fixture struct {
	t      *testing.T
	folder string
	config Config
	log    bytes.Buffer
	stop   func()
}

func (f *fixture) run() {
	f.t.Helper()
	server := &Server{Folder: f.folder, Archives: f.t.TempDir(), Config: f.config, Log: slog.New(slog.NewTextHandler(&f.log, nil)), Now: time.Now}
	if err := server.Open(); err != nil {
		f.t.Fatal(err)
	}
	jobs, err := Listen(filepath.Join(f.folder, "jobs.sock"), 0o666)
	if err != nil {
		f.t.Fatal(err)
	}
	operator, err := Listen(filepath.Join(f.folder, "operator.sock"), 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, jobs, operator) }()
	f.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	}
}

func (f *fixture) do(method, path, token, body string) (status int, text string) {
	f.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(f.folder, "jobs.sock"))
	}}}
	if !strings.Contains(path, "://") {
		path = "http://cache.internal:4180" + path
	}
	request, err := http.NewRequestWithContext(f.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	got, err := client.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	answer, err := io.ReadAll(got.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return got.StatusCode, string(answer)
}

func (f *fixture) ask(method, path string, answer any) error {
	got, err := Ask(f.t.Context(), filepath.Join(f.folder, "operator.sock"), Request{Method: method, Path: path})
	if err != nil {
		return err
	}
	if got.Problem != "" {
		return fmt.Errorf("%s (unknown: %t)", got.Problem, got.Unknown)
	}
	return json.Unmarshal(got.Value, answer)
}

const service = "/twirp/github.actions.results.api.v1.CacheService/"

func (f *fixture) call(method, token, body string) (reply struct {
	OK       bool   `json:"ok"`
	Upload   string `json:"signed_upload_url"`
	Download string `json:"signed_download_url"`
}) {
	f.t.Helper()
	status, text := f.do(http.MethodPost, service+method, token, body)
	if err := json.Unmarshal([]byte(text), &reply); err != nil || status != http.StatusOK {
		f.t.Fatalf("%s: %d %s", method, status, text)
	}
	return reply
}

func (f *fixture) save(token, key string) {
	f.t.Helper()
	created := f.call("CreateCacheEntry", token, fmt.Sprintf(`{"key":%q,"version":"v"}`, key))
	if status, text := f.do(http.MethodPut, created.Upload, "", "text of "+key); status != http.StatusCreated {
		f.t.Fatalf("%d %s", status, text)
	}
	f.call("FinalizeCacheEntryUpload", token, fmt.Sprintf(`{"key":%q,"version":"v","size_bytes":"%d"}`, key, len("text of "+key)))
}

// A host's runners of two GitHubs use one cache, and their repositories stay apart.
func TestServe(t *testing.T) {
	one, two := newGitHub(t), newGitHub(t)
	f := &fixture{t: t, folder: t.TempDir(), config: Config{Size: 1 << 20, Actions: true, Targets: []Target{
		{Name: "github.com", Issuer: one.URL, Results: one.URL, API: one.URL + "/api"}, {Name: "ghe.example", Issuer: two.URL, Results: two.URL + "/results", API: two.URL + "/api"},
	}, Registries: []string{"ghcr.io"}, Upstreams: map[string]string{"ghcr.io": "http://127.0.0.1:1"}}}
	f.run()
	first, second := one.token(t, "42"), two.token(t, "42")
	f.save(first, "key")
	if got := f.call("GetCacheEntryDownloadURL", second, `{"key":"key","version":"v"}`); got.OK {
		t.Errorf("a repository of another GitHub with the same number reads %+v", got)
	}
	f.save(second, "key")
	download := f.call("GetCacheEntryDownloadURL", first, `{"key":"key","version":"v"}`).Download
	if !strings.HasPrefix(download, "http://cache.internal:4180/") {
		t.Errorf("download at %s, want the address that the job used", download)
	}

	// A restart keeps entries and URLs, also without the issuer.
	f.stop()
	one.Close()
	f.run()
	if status, text := f.do(http.MethodGet, download, "", ""); status != http.StatusOK || text != "text of key" {
		t.Errorf("after a restart: %d %q", status, text)
	}
	if got := f.call("GetCacheEntryDownloadURL", first, `{"key":"key","version":"v"}`); !got.OK {
		t.Error("after a restart without the issuer the entry is missing")
	}
	if status, text := f.do(http.MethodPost, "/twirp/another", second, ""); status != http.StatusOK || text != "results of /results/twirp/another" {
		t.Errorf("another service: %d %q", status, text)
	}

	var report Report
	if err := f.ask(http.MethodGet, "/report", &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Entries) != 2 || report.Entries[0].Repository != "github.com/42" || report.Entries[1].Repository != "ghe.example/42" {
		t.Errorf("got %+v", report)
	}
	var count counts.Count
	if err := f.ask(http.MethodGet, "/counts", &count); err != nil || count.Hits != 1 || count.RestoredBytes != int64(len("text of key")) {
		t.Errorf("counts %+v, %v", count, err)
	}
	var reached []Reach
	if err := f.ask(http.MethodGet, "/reach", &reached); err != nil || len(reached) != 7 {
		t.Fatalf("reach: %+v, %v, want three servers of each GitHub and a registry", reached, err)
	}
	for _, one := range reached {
		if up := one.Name == strings.TrimPrefix(two.URL, "http://"); up != (one.Problem == "") || one.Skew.Abs() > time.Minute {
			t.Errorf("reach: %+v, want a problem for all but %s", one, two.URL)
		}
	}
	var nothing any
	if err := f.ask(http.MethodDelete, "/entries/"+report.Entries[0].ID, &nothing); err != nil {
		t.Error(err)
	}
	if err := f.ask(http.MethodDelete, "/entries/"+report.Entries[0].ID, &nothing); err == nil || !strings.Contains(err.Error(), "no such entry or upload (unknown: true)") {
		t.Errorf("removed again: %v", err)
	}
	if err := f.ask(http.MethodPost, "/verify", &nothing); err != nil || nothing != nil {
		t.Errorf("damaged %v, %v", nothing, err)
	}
	if status, _ := f.do(http.MethodGet, "/report", second, ""); status != http.StatusNotFound {
		t.Errorf("a job asks for the report: %d, want 404", status)
	}

	f.stop()
	f.config = Config{Size: 1 << 20}
	f.run()
	for _, path := range []string{service + "GetCacheEntryDownloadURL", "/v2/library/alpine/manifests/latest"} {
		if status, _ := f.do(http.MethodGet, path, second, ""); status != http.StatusNotFound {
			t.Errorf("%s, switched off: %d, want 404", path, status)
		}
	}
	f.stop()
	if f.log.Len() > 0 {
		t.Errorf("log:\n%s", &f.log)
	}
}

func TestOpenFails(t *testing.T) {
	for name, server := range map[string]*Server{
		"no folder": {Folder: "/nowhere/at/all"},
		"no URL":    {Folder: t.TempDir(), Now: time.Now, Config: Config{Targets: []Target{{Results: "http://[::1"}}}},
	} {
		if err := server.Open(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
