package actions

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
	"github.com/runnerctl/runnerctl/internal/cache/token"
)

// tokens maps texts to identities.
type tokens map[string]token.Identity

func (t tokens) Verify(_ context.Context, text string) (token.Identity, error) {
	parts := strings.Split(text, ".")
	name, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return token.Identity{}, err
	}
	if string(name) == "unverifiable" {
		return token.Identity{}, errors.New("the keys can't be fetched")
	}
	who, known := t[string(name)]
	if !known {
		return token.Identity{}, token.ErrRefused
	}
	return who, nil
}

const issuer = "https://issuer.example"

// bearer returns a token with a name in the place of its signature.
func bearer(from, name string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","kid":"one"}`)) + "." + encode([]byte(`{"iss":"`+from+`"}`)) + "." + encode([]byte(name))
}

var jobs = tokens{
	"main":  {Repository: "42", Job: "run:main", Scopes: []token.Scope{{Name: "refs/heads/main", Write: true}}},
	"pull":  {Repository: "42", Job: "run:pull", Scopes: []token.Scope{{Name: "refs/pull/7/merge", Write: true}, {Name: "refs/heads/main"}}},
	"other": {Repository: "43", Job: "run:other", Scopes: []token.Scope{{Name: "refs/heads/main", Write: true}}},
	"read":  {Repository: "42", Job: "run:read", Scopes: []token.Scope{{Name: "refs/heads/main"}}},
}

// fixture is a service with its upstream.
type fixture struct {
	*Service
	t      *testing.T
	dir    string
	server *httptest.Server
	asked  []string // of the upstream
	clock  time.Time
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		f.asked = append(f.asked, fmt.Sprintf("%s %s %s %s %s", r.Method, r.Host, r.URL.Path, r.Header.Get("X-Forwarded-For"), text))
		_, _ = io.WriteString(w, `{"from":"upstream"}`)
	}))
	t.Cleanup(upstream.Close)
	at, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return f.clock }
	kept, err := store.Open(f.dir, store.Limits{Size: 1 << 20, Repository: 1 << 20, Uploads: 2}, now)
	if err != nil {
		t.Fatal(err)
	}
	f.Service = &Service{Store: kept, Targets: []Target{{Name: "github", Issuer: issuer, Results: at, Tokens: jobs}}, Secret: []byte("secret"), Now: now, Counts: &counts.Counts{}, Transport: http.DefaultTransport}
	f.server = httptest.NewServer(f.Service)
	t.Cleanup(f.server.Close)
	return f
}

// do makes a request and returns its answer.
func (f *fixture) do(method, at, by, body string, headers ...string) (status int, text string, header http.Header) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if by != "" {
		request.Header.Set("Authorization", "Bearer "+bearer(issuer, by))
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got, err := f.server.Client().Do(request)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer func() { _ = got.Body.Close() }()
	answer, err := io.ReadAll(got.Body)
	if err != nil {
		return got.StatusCode, err.Error(), got.Header
	}
	return got.StatusCode, string(answer), got.Header
}

// call calls a method of the service, by the last part of its path.
func (f *fixture) call(method, by, body string) (status int, got reply, text string) {
	f.t.Helper()
	status, text, _ = f.do(http.MethodPost, f.server.URL+service+method, by, body)
	_ = json.Unmarshal([]byte(text), &got) // an error is no reply
	return status, got, text
}

const keyed = `{"key":"npm-1","version":"v1"}`

// save saves an entry in one piece.
func (f *fixture) save(by, key, text string) {
	f.t.Helper()
	_, got, said := f.call("CreateCacheEntry", by, fmt.Sprintf(`{"key":%q,"version":"v1"}`, key))
	if !got.OK {
		f.t.Fatalf("create: %s", said)
	}
	if status, said, header := f.do(http.MethodPut, got.UploadURL, "", text); status != http.StatusCreated || header.Get("X-Ms-Request-Id") == "" {
		f.t.Fatalf("put: %d %s %v", status, said, header)
	}
	if _, got, said := f.call("FinalizeCacheEntryUpload", by, fmt.Sprintf(`{"key":%q,"version":"v1","size_bytes":"%d"}`, key, len(text))); !got.OK || got.ID == "" {
		f.t.Fatalf("finalize: %s", said)
	}
}

func (f *fixture) find(by, body string) reply {
	f.t.Helper()
	status, got, said := f.call("GetCacheEntryDownloadURL", by, body)
	if status != http.StatusOK {
		f.t.Fatalf("find %s: %d %s", body, status, said)
	}
	return got
}

func TestSaveAndRestore(t *testing.T) {
	f := start(t)
	if got := f.find("main", keyed); got.OK {
		t.Errorf("an empty cache: %+v", got)
	}
	f.save("main", "npm-1", "the entry")
	got := f.find("pull", `{"key":"npm-2","restore_keys":["npm-"],"version":"v1"}`)
	if !got.OK || got.Key != "npm-1" || !strings.HasPrefix(got.DownloadURL, f.server.URL+blobs) {
		t.Fatalf("got %+v", got)
	}
	for _, test := range []struct{ asked, want, content string }{
		{"", "the entry", ""}, {"bytes=4-", "entry", "bytes 4-8/9"}, {"bytes=0-2", "the", "bytes 0-2/9"}, {"bytes=4-100", "entry", "bytes 4-8/9"},
		{"bytes=-3", "the entry", ""}, {"bytes=3-1", "the entry", ""}, {"bytes=0-1,3-4", "the entry", ""}, {"lines=1-", "the entry", ""},
	} {
		status, text, header := f.do(http.MethodGet, got.DownloadURL, "", "", "Range", test.asked)
		if text != test.want || header.Get("Content-Range") != test.content || (status == http.StatusPartialContent) != (test.content != "") {
			t.Errorf("%s: %d %q, %q", test.asked, status, text, header.Get("Content-Range"))
		}
	}
	if status, _, header := f.do(http.MethodGet, got.DownloadURL, "", "", "Range", "bytes=9-"); status != http.StatusRequestedRangeNotSatisfiable || header.Get("Content-Range") != "bytes */9" {
		t.Errorf("behind the end: %d %v", status, header)
	}
	if status, text, header := f.do(http.MethodHead, got.DownloadURL, "", ""); status != http.StatusOK || text != "" || header.Get("Content-Length") != "9" {
		t.Errorf("HEAD: %d %q %v", status, text, header)
	}
	if got := f.Counts.Now(); got.Hits != 1 || got.Misses != 1 || got.SavedBytes != 9 || got.RestoredBytes == 0 {
		t.Errorf("counts %+v", got)
	}
	if len(f.asked) > 0 {
		t.Errorf("GitHub was asked: %q", f.asked)
	}
}

// Blocks arrive in any order, and with parameters in any order.
func TestBlocks(t *testing.T) {
	f := start(t)
	_, created, _ := f.call("CreateCacheEntry", "main", keyed)
	parts := []string{"one ", "two ", "three"}
	list := `<?xml version="1.0" encoding="utf-8" standalone="yes"?><BlockList>`
	for i := len(parts) - 1; i >= 0; i-- {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "\x00\xff%d", i))
		if status, said, _ := f.do(http.MethodPut, created.UploadURL+"&"+url.Values{"blockid": {id}, "comp": {"block"}}.Encode(), "", parts[i]); status != http.StatusCreated {
			t.Fatalf("block: %d %s", status, said)
		}
		list = strings.Replace(list, "<BlockList>", "<BlockList><Latest>"+id+"</Latest>", 1)
	}
	if status, said, _ := f.do(http.MethodPut, created.UploadURL+"&comp=blocklist", "", list+"</BlockList>"); status != http.StatusCreated {
		t.Fatalf("list: %d %s", status, said)
	}
	if _, got, said := f.call("FinalizeCacheEntryUpload", "main", `{"key":"npm-1","version":"v1","size_bytes":13}`); !got.OK { // BuildKit sends a number
		t.Fatalf("finalize: %s", said)
	}
	if _, text, _ := f.do(http.MethodGet, f.find("main", keyed).DownloadURL, "", ""); text != "one two three" {
		t.Errorf("got %q", text)
	}
}

// Forbidden requests of a job are refused, with the code that its client understands.
func TestRefusals(t *testing.T) {
	f := start(t)
	f.save("main", "npm-1", "text")
	for _, test := range []struct {
		name, method, by, body string
		status                 int
		want                   string
	}{
		{"no token", "CreateCacheEntry", "", keyed, 401, `"code":"unauthenticated"`},
		{"refused token", "GetCacheEntryDownloadURL", "forged", keyed, 401, `"code":"unauthenticated"`},
		{"no JSON", "CreateCacheEntry", "main", "key=npm-1", 400, `"code":"malformed"`},
		{"long body", "CreateCacheEntry", "main", `{"key":"` + strings.Repeat("x", mostAsked) + `"}`, 400, `"code":"malformed"`},
		{"no key", "CreateCacheEntry", "main", `{"version":"v1"}`, 400, `a key and a version`},
		{"no version", "CreateCacheEntry", "main", `{"key":"npm-1"}`, 400, `a key and a version`},
		{"long key", "CreateCacheEntry", "main", `{"key":"` + strings.Repeat("ü", mostKey+1) + `","version":"v1"}`, 400, `more than 512 characters`},
		{"control character", "GetCacheEntryDownloadURL", "main", `{"key":"k","version":"v1","restore_keys":["a\u001b[31m"]}`, 400, `a control character`},
		{"many keys", "GetCacheEntryDownloadURL", "main", `{"key":"k","version":"v1","restore_keys":["","","","","","","","","","",""]}`, 400, `11 restore keys`},
		{"taken key", "CreateCacheEntry", "main", keyed, 409, `"code":"already_exists"`},
		{"scope to read only", "CreateCacheEntry", "read", keyed, 200, `{"ok":false,"message":"cache write denied: `},
		{"no upload", "FinalizeCacheEntryUpload", "main", `{"key":"none","version":"v1","size_bytes":"4"}`, 404, `"code":"not_found"`},
		{"scope to read only, at the end", "FinalizeCacheEntryUpload", "read", `{"key":"npm-1","version":"v1","size_bytes":"4"}`, 404, `"code":"not_found"`},
		{"no number", "FinalizeCacheEntryUpload", "main", `{"key":"npm-1","version":"v1","size_bytes":"four"}`, 400, `is not a number`},
	} {
		if status, _, text := f.call(test.method, test.by, test.body); status != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%s: %d %s, want %d %s", test.name, status, text, test.status, test.want)
		}
	}
	for given, want := range map[string]int{bearer(issuer, "main"): http.StatusMethodNotAllowed, bearer("https://another.example", "main"): http.StatusUnauthorized, "no token": http.StatusUnauthorized} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+create, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+given)
		got, err := f.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _ = got.Body.Close(); got.StatusCode != want || !got.Close {
			t.Errorf("GET with %s: %s, close %t, want %d and the connection's end", given, got.Status, got.Close, want)
		}
	}
	if got := f.find("other", `{"key":"npm-1","version":"v1","restore_keys":["npm-"]}`); got.OK {
		t.Errorf("another repository reads %+v", got)
	}
	// A pull request saves in its own scope, which main does not read.
	f.save("pull", "npm-1", "poison")
	if _, text, _ := f.do(http.MethodGet, f.find("main", keyed).DownloadURL, "", ""); text != "text" {
		t.Errorf("main reads %q", text)
	}
	if _, text, _ := f.do(http.MethodGet, f.find("pull", keyed).DownloadURL, "", ""); text != "poison" {
		t.Errorf("the pull request reads %q", text)
	}
	for i, want := range []int{200, 200, 429} {
		if status, _, text := f.call("CreateCacheEntry", "main", fmt.Sprintf(`{"key":"open-%d","version":"v1"}`, i)); status != want {
			t.Errorf("open upload %d: %d %s, want %d", i, status, text, want)
		}
	}
}

// A URL is for one request, one blob, and a short time.
func TestSignedURLs(t *testing.T) {
	f := start(t)
	f.save("main", "npm-1", "text")
	_, created, _ := f.call("CreateCacheEntry", "main", `{"key":"npm-2","version":"v1"}`)
	download := f.find("main", keyed).DownloadURL
	change := func(at, name, value string) string {
		parsed, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		query := parsed.Query()
		query.Set(name, value)
		parsed.RawQuery = query.Encode()
		return parsed.String()
	}
	later := fmt.Sprint(f.clock.Add(24 * time.Hour).Unix())
	for _, test := range []struct{ name, method, url string }{
		{"read with the upload's", http.MethodGet, created.UploadURL},
		{"write with the download's", http.MethodPut, download},
		{"another use", http.MethodPut, change(download, "use", "upload")},
		{"later", http.MethodGet, change(download, "se", later)},
		{"no signature", http.MethodGet, change(download, "sig", "")},
		{"another signature", http.MethodGet, change(download, "sig", strings.Repeat("A", 43))},
		{"another blob", http.MethodGet, strings.Replace(download, blobs, blobs+"1", 1)},
		{"another blob's signature", http.MethodPut, strings.Replace(created.UploadURL, blobs, blobs+"1", 1)},
		{"a folder", http.MethodGet, f.server.URL + blobs + "..%2f..%2fentries?" + download[strings.Index(download, "?")+1:]},
		{"removal", http.MethodDelete, download},
	} {
		if status, text, _ := f.do(test.method, test.url, "", "changed"); status != http.StatusForbidden && status != http.StatusNotFound {
			t.Errorf("%s: %d %q, want 403 or 404", test.name, status, text)
		}
	}
	for _, test := range []struct {
		url    string
		status int
	}{
		{created.UploadURL + "&comp=lease", 400},
		{created.UploadURL + "&comp=block", 400},
		{created.UploadURL + "&comp=block&blockid=" + strings.Repeat("A", mostBlockID+1), 400},
		{created.UploadURL + "&comp=blocklist", 400},
	} {
		if status, text, _ := f.do(http.MethodPut, test.url, "", "no XML"); status != test.status {
			t.Errorf("%s: %d %q, want %d", test.url, status, text, test.status)
		}
	}
	f.clock = f.clock.Add(valid[restore] + time.Second)
	if status, _, _ := f.do(http.MethodGet, download, "", ""); status != http.StatusForbidden {
		t.Errorf("an old download: %d, want 403", status)
	}
	f.clock = f.clock.Add(valid[upload])
	if status, _, _ := f.do(http.MethodPut, created.UploadURL, "", "late"); status != http.StatusForbidden {
		t.Errorf("an old upload: %d, want 403", status)
	}
}

// The URL of an upload is dead after the upload's end.
func TestReplayedUpload(t *testing.T) {
	f := start(t)
	_, created, _ := f.call("CreateCacheEntry", "main", keyed)
	if status, _, _ := f.do(http.MethodPut, created.UploadURL, "", "text"); status != http.StatusCreated {
		t.Fatal(status)
	}
	if _, got, said := f.call("FinalizeCacheEntryUpload", "main", `{"key":"npm-1","version":"v1","size_bytes":"4"}`); !got.OK {
		t.Fatal(said)
	}
	if status, text, _ := f.do(http.MethodPut, created.UploadURL, "", "evil"); status != http.StatusNotFound {
		t.Errorf("again: %d %s, want 404", status, text)
	}
	if _, text, _ := f.do(http.MethodGet, f.find("main", keyed).DownloadURL, "", ""); text != "text" {
		t.Errorf("got %q", text)
	}
}

func TestTooLarge(t *testing.T) {
	f := start(t)
	_, created, _ := f.call("CreateCacheEntry", "main", keyed)
	if status, text, _ := f.do(http.MethodPut, created.UploadURL, "", strings.Repeat("x", 1<<20+1)); status != http.StatusForbidden || !strings.Contains(text, "does not fit") {
		t.Errorf("got %d %s, want 403", status, text)
	}
}

// A damaged entry is a miss that names no archive: no byte of it reaches the client.
func TestDamagedEntry(t *testing.T) {
	f := start(t)
	f.save("main", "npm-1", "text")
	download := f.find("main", keyed).DownloadURL
	paths, err := filepath.Glob(filepath.Join(f.dir, "entries", "*", "1"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	if err := os.WriteFile(paths[0], []byte("next"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, text, _ := f.do(http.MethodGet, download, "", ""); status != http.StatusInternalServerError || strings.Contains(text, "next") {
		t.Errorf("got %d %q, want 500", status, text)
	}
	if got := f.find("main", keyed); got.OK {
		t.Errorf("afterwards: %+v", got)
	}
	f.save("main", "npm-1", "again")

	f.save("main", "long", strings.Repeat("x", 600<<10))
	if err := f.Store.Remove(f.Store.List()[0].ID); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := f.do(http.MethodGet, download, "", ""); status != http.StatusInternalServerError {
		t.Errorf("an entry that was removed: %d, want 500", status)
	}
}

// Everything else goes to GitHub, and so do calls whose token can't be verified for now.
func TestForwarding(t *testing.T) {
	f := start(t)
	for _, test := range []struct {
		path, by string
		status   int
	}{
		{"/twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact", "anything", 200},
		{create, "unverifiable", 200},
		{"/_apis/artifactcache/cache", "main", 404},
		{"/twirp/../metrics", "main", 404},
		{"/", "main", 404},
	} {
		status, text, _ := f.do(http.MethodPost, f.server.URL+test.path, test.by, "body")
		if status != test.status || (text == `{"from":"upstream"}`) != (status == 200) {
			t.Errorf("%s: %d %s, want %d", test.path, status, text, test.status)
		}
	}
	want := []string{
		"POST " + f.Targets[0].Results.Host + " /twirp/github.actions.results.api.v1.ArtifactService/CreateArtifact  body",
		"POST " + f.Targets[0].Results.Host + " " + create + "  body",
	}
	if strings.Join(f.asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("GitHub was asked\n%q, want\n%q", f.asked, want)
	}
	f.Targets[0].Results = &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	if status, text, _ := f.do(http.MethodPost, f.server.URL+"/twirp/x", "main", ""); status != http.StatusBadGateway || !strings.Contains(text, `"code":"unavailable"`) {
		t.Errorf("without GitHub: %d %s, want 502", status, text)
	}
}

// A client that leaves ends only its own download.
func TestClientLeaves(t *testing.T) {
	f := start(t)
	f.save("main", "npm-1", strings.Repeat("x", 900<<10))
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.find("main", keyed).DownloadURL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	_ = got.Body.Close()
	if _, text, _ := f.do(http.MethodGet, f.find("main", keyed).DownloadURL, "", ""); !bytes.Equal([]byte(text), bytes.Repeat([]byte("x"), 900<<10)) {
		t.Errorf("got %d bytes", len(text))
	}
}
