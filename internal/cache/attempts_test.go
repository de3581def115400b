package cache

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/runnerctl/runnerctl/internal/cache/store"
)

// target is a cache that attempts are made at.
type target struct {
	http.Handler
	t      *testing.T
	github *github
	parent string // of the folder with its entries
}

// entryLimit and uploadLimit are small, so that attempts to pass them are quick.
const (
	budget      = 1 << 20 // bytes
	entryLimit  = 20
	uploadLimit = 4
)

// do makes a request of a job and returns the answer.
func (to *target) do(method, at, token, body string) (status int, text string) {
	request := httptest.NewRequest(method, at, strings.NewReader(body))
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	to.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

// create begins an upload and returns its URL; "" if it is refused.
func (to *target) create(token, key string) string {
	_, text := to.do(http.MethodPost, service+"CreateCacheEntry", token, fmt.Sprintf(`{"key":%q,"version":"v"}`, key))
	var reply struct {
		URL string `json:"signed_upload_url"`
	}
	_ = json.Unmarshal([]byte(text), &reply) // a refusal has none
	return reply.URL
}

func (to *target) put(at, text string) bool {
	status, _ := to.do(http.MethodPut, at, "", text)
	return status == http.StatusCreated
}

func (to *target) finalize(token, key string, size int) bool {
	status, _ := to.do(http.MethodPost, service+"FinalizeCacheEntryUpload", token, fmt.Sprintf(`{"key":%q,"version":"v","size_bytes":"%d"}`, key, size))
	return status == http.StatusOK
}

func (to *target) save(token, key, text string) bool {
	at := to.create(token, key)
	return at != "" && to.put(at, text) && to.finalize(token, key, len(text))
}

// restore returns an entry; "" if the job finds none.
func (to *target) restore(token, key string) string {
	_, text := to.do(http.MethodPost, service+"GetCacheEntryDownloadURL", token, fmt.Sprintf(`{"key":%q,"version":"v"}`, key))
	var reply struct {
		URL string `json:"signed_download_url"`
	}
	if json.Unmarshal([]byte(text), &reply) != nil || reply.URL == "" {
		return ""
	}
	_, text = to.do(http.MethodGet, reply.URL, "", "")
	return text
}

// claims are those of a job of a repository whose branch it may write to.
func (to *target) claims(repository, branch string) map[string]any {
	return map[string]any{
		"iss": to.github.URL, "exp": time.Now().Add(time.Hour).Unix(), "repository_id": repository, "scp": "Actions.Results:run:" + repository + branch,
		"ac": fmt.Sprintf(`[{"Scope":%q,"Permission":3},{"Scope":"refs/heads/main","Permission":1}]`, branch),
	}
}

func (to *target) sign(algorithm jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	to.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", id))
	if err != nil {
		to.t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		to.t.Fatal(err)
	}
	return text
}

// job returns the token that GitHub gives to a job of a repository.
func (to *target) job(repository, branch string) string {
	return to.sign(jose.RS256, to.github.key, "one", to.claims(repository, branch))
}

// main is a job of the main branch, whose entries are the target of the attempts.
func (to *target) main() string { return to.job("42", "refs/heads/main") }

// pull is a job of a pull request of the same repository.
func (to *target) pull() string { return to.job("42", "refs/pull/7/merge") }

// reads reports whether somebody with a token restores an entry of main.
func (to *target) reads(token string) bool {
	to.save(to.main(), "key", "of main")
	return to.restore(token, "key") == "of main"
}

// attempts are those of a job. Each returns whether it succeeded.
var attempts = map[string]func(*target) bool{
	"read another repository": func(to *target) bool { return to.reads(to.job("43", "refs/heads/main")) },
	"read another branch": func(to *target) bool {
		to.save(to.job("42", "refs/heads/secret"), "key", "of another branch")
		return to.restore(to.pull(), "key") != ""
	},
	"write for main": func(to *target) bool {
		to.save(to.pull(), "key", "poison")
		return to.restore(to.main(), "key") == "poison"
	},
	"write for another repository": func(to *target) bool {
		to.save(to.job("43", "refs/heads/main"), "key", "poison")
		return to.restore(to.main(), "key") == "poison"
	},
	"a token of one's own key": func(to *target) bool { return to.reads(to.sign(jose.RS256, newKey(to.t), "two", to.claims("42", "x"))) },
	"a token of one's own key, under the name of GitHub's": func(to *target) bool {
		return to.reads(to.sign(jose.RS256, newKey(to.t), "one", to.claims("42", "x")))
	},
	"a token signed with the public key": func(to *target) bool {
		public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&to.github.key.PublicKey)})
		return to.reads(to.sign(jose.HS256, public, "one", to.claims("42", "x")))
	},
	"a token without a signature": func(to *target) bool {
		text, err := json.Marshal(to.claims("42", "x"))
		if err != nil {
			to.t.Fatal(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		return to.reads(encode([]byte(`{"alg":"none","kid":"one"}`)) + "." + encode(text) + ".")
	},
	"a token with other claims": func(to *target) bool {
		parts := strings.Split(to.job("43", "refs/heads/main"), ".")
		text, err := json.Marshal(to.claims("42", "refs/heads/main"))
		if err != nil {
			to.t.Fatal(err)
		}
		return to.reads(parts[0] + "." + base64.RawURLEncoding.EncodeToString(text) + "." + parts[2])
	},
	"an expired token": func(to *target) bool {
		claims := to.claims("42", "x")
		claims["exp"] = time.Now().Add(-time.Hour).Unix()
		return to.reads(to.sign(jose.RS256, to.github.key, "one", claims))
	},
	"a token for another service": func(to *target) bool {
		claims := to.claims("42", "x")
		delete(claims, "ac")
		return to.reads(to.sign(jose.RS256, to.github.key, "one", claims))
	},
	"guess the URL of an upload": func(to *target) bool {
		to.create(to.main(), "key")
		for id := range 5 {
			to.put(fmt.Sprintf("/blobs/%d", id), "poison")
		}
		return to.finalize(to.main(), "key", len("poison"))
	},
	"guess the URL of an entry": func(to *target) bool {
		to.save(to.main(), "key", "of main")
		for id := range 5 {
			if _, text := to.do(http.MethodGet, fmt.Sprintf("/blobs/%d", id), "", ""); text == "of main" {
				return true
			}
		}
		return false
	},
	"use the URL of an upload once more": func(to *target) bool {
		at := to.create(to.main(), "key")
		to.put(at, "of main")
		to.finalize(to.main(), "key", len("of main"))
		to.put(at, "poison!")
		return to.restore(to.main(), "key") == "poison!"
	},
	"save a key again": func(to *target) bool {
		to.save(to.main(), "key", "of main")
		to.save(to.main(), "key", "poison!")
		return to.restore(to.main(), "key") == "poison!"
	},
	"finish another job's upload": func(to *target) bool {
		to.put(to.create(to.main(), "key"), "half")
		return to.finalize(to.pull(), "key", len("half"))
	},
	"write outside the folder by a key": func(to *target) bool {
		to.save(to.pull(), "../outside", "poison")
		_, err := os.Stat(filepath.Join(to.parent, "outside"))
		return err == nil
	},
	"read outside the folder by a URL": func(to *target) bool {
		if err := os.WriteFile(filepath.Join(to.parent, "credential"), []byte("secret"), 0o600); err != nil {
			to.t.Fatal(err)
		}
		for _, path := range []string{"/blobs/../credential", "/blobs/..%2fcredential", "/blobs/%2e%2e/credential"} {
			if _, text := to.do(http.MethodGet, path, "", ""); text == "secret" {
				return true
			}
		}
		return false
	},
	"an upload larger than the cache": func(to *target) bool {
		return to.put(to.create(to.pull(), "key"), strings.Repeat("x", budget+1))
	},
	"uploads without an end": func(to *target) bool {
		for i := range uploadLimit + 1 {
			if to.create(to.pull(), fmt.Sprint(i)) == "" {
				return false
			}
		}
		return true
	},
	"many small entries": func(to *target) bool {
		key := func(i int) string { return fmt.Sprintf("key-%02d", i) } // none begins with another one
		for i := range entryLimit + 5 {
			to.save(to.pull(), key(i), "x")
		}
		found := 0
		for i := range entryLimit + 5 {
			if to.restore(to.pull(), key(i)) != "" {
				found++
			}
		}
		return found > entryLimit
	},
	"push out the entries of another repository": func(to *target) bool {
		to.save(to.main(), "key", "of main")
		for i := range 12 {
			to.save(to.job("43", "refs/heads/main"), fmt.Sprint(i), strings.Repeat("x", budget/8))
		}
		return to.restore(to.main(), "key") == ""
	},
	"requests to another server": func(to *target) bool {
		reached := false
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
		defer other.Close()
		host := strings.TrimPrefix(other.URL, "http://")
		for _, at := range []string{other.URL + "/twirp/x", "/twirp/@" + host + "/x", "//" + host + "/twirp/x"} {
			to.do(http.MethodPost, at, to.pull(), "")
		}
		return reached
	},
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Each attempt fails at the cache, and succeeds at a server that has none of its precautions: so the
// attempts are able to find the faults that they look for.
func TestAttempts(t *testing.T) {
	for name, attempt := range attempts {
		t.Run(name, func(t *testing.T) {
			parent, github := t.TempDir(), newGitHub(t)
			careless := &target{t: t, github: github, parent: parent, Handler: newCareless(t, filepath.Join(parent, "entries"))}
			if !attempt(careless) {
				t.Error("it fails at the careless server, too")
			}
			parent = t.TempDir()
			if attempt(&target{t: t, github: github, parent: parent, Handler: jobsSide(t, filepath.Join(parent, "cache"), github)}) {
				t.Error("it succeeds")
			}
		})
	}
}

// jobsSide is the side of the jobs of a cache with small limits.
func jobsSide(t *testing.T, folder string, github *github) http.Handler {
	t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	server := &Server{Folder: folder, Now: time.Now, Log: slog.New(slog.DiscardHandler), Config: Config{
		Size: budget, Actions: true, Targets: []Target{{Name: "github.com", Issuer: github.URL, Results: github.URL}},
	}}
	if err := server.Open(); err != nil {
		t.Fatal(err)
	}
	limits := server.Config.limits()
	limits.Entries, limits.Uploads = entryLimit, uploadLimit
	var err error
	if server.store, err = store.Open(folder, limits, time.Now); err != nil {
		t.Fatal(err)
	}
	if server.jobs, err = server.forJobs([]byte("secret")); err != nil {
		t.Fatal(err)
	}
	return server.jobs
}

// careless is a cache service that believes its clients.
type careless struct {
	t      *testing.T
	folder string
	mutex  sync.Mutex
	ids    map[string]string // keys by the number of an upload
	order  []string          // of keys
}

func newCareless(t *testing.T, folder string) *careless {
	t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return &careless{t: t, folder: folder, ids: map[string]string{}}
}

func (c *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch body, _ := io.ReadAll(r.Body); {
	case strings.HasPrefix(r.URL.Path, service):
		c.call(w, strings.TrimPrefix(r.URL.Path, service), body)
	case strings.HasPrefix(r.URL.Path, "/blobs/"):
		c.blob(w, r, strings.TrimPrefix(r.URL.Path, "/blobs/"), body)
	default: // for some other service
		if answer, err := http.Post((&url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path}).String(), "", bytes.NewReader(body)); err == nil {
			answer.Body.Close()
		}
	}
}

func (c *careless) call(w http.ResponseWriter, method string, body []byte) {
	var asked struct {
		Key string `json:"key"`
	}
	_ = json.Unmarshal(body, &asked)
	switch method {
	case "CreateCacheEntry":
		id := fmt.Sprint(len(c.ids))
		c.ids[id] = asked.Key
		fmt.Fprintf(w, `{"signed_upload_url":"/blobs/%s"}`, id)
	case "GetCacheEntryDownloadURL":
		for id, key := range c.ids {
			if key == asked.Key {
				fmt.Fprintf(w, `{"signed_download_url":"/blobs/%s"}`, id)
				return
			}
		}
	}
}

func (c *careless) blob(w http.ResponseWriter, r *http.Request, id string, body []byte) {
	key, known := c.ids[id]
	if !known {
		key = id
	}
	path := filepath.Join(c.folder, key)
	if r.Method == http.MethodGet {
		text, _ := os.ReadFile(path)
		_, _ = w.Write(text)
		return
	}
	if c.order = append(c.order, path); len(c.order) > 8 && len(body) > 1 { // the space is used up
		_ = os.Remove(c.order[0])
		c.order = c.order[1:]
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		c.t.Error(err)
	}
	w.WriteHeader(http.StatusCreated)
}
