package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
)

// upstream is a registry with one image. It counts requests and can fail.
type upstream struct {
	*httptest.Server
	name     string
	manifest []byte
	blobs    map[string][]byte // by digest
	content  map[string][]byte // sent in place of a blob
	gate     chan struct{}     // if not nil: a blob's second half waits for it
	token    string            // if not "": required

	mutex  sync.Mutex
	tag    string // digest
	asked  map[string]int
	logins []string
	down   bool
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func newUpstream(t *testing.T, blobs ...[]byte) *upstream {
	t.Helper()
	u := &upstream{blobs: map[string][]byte{}, content: map[string][]byte{}, asked: map[string]int{}}
	for _, blob := range blobs {
		u.blobs[digestOf(blob)] = blob
	}
	u.manifest = []byte(`{"schemaVersion":2,"mediaType":"` + manifestType + `"}`)
	u.tag = digestOf(u.manifest)
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	u.name = strings.TrimPrefix(u.URL, "http://")
	return u
}

func (u *upstream) count(key string) int {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return u.asked[key]
}

func (u *upstream) set(change func()) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	change()
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mutex.Lock()
	u.asked[r.Method+" "+r.URL.Path]++
	down, tag := u.down, u.tag
	if r.Header.Get("Authorization") != "" {
		u.logins = append(u.logins, r.URL.Path+" "+r.Header.Get("Authorization"))
	}
	u.mutex.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Path == "/token" {
		_ = json.NewEncoder(w).Encode(map[string]string{"token": u.token})
		return
	}
	if u.token != "" && r.Header.Get("Authorization") != "Bearer "+u.token {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+u.URL+`/token",service="registry"`)
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	switch at := r.URL.Path; {
	case at == "/v2/":
	case strings.HasPrefix(at, "/v2/team/app/manifests/"):
		reference := strings.TrimPrefix(at, "/v2/team/app/manifests/")
		if reference != "latest" && reference != digestOf(u.manifest) {
			http.Error(w, "unknown", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", tag)
		_, _ = w.Write(u.manifest)
	case strings.HasPrefix(at, "/v2/team/app/blobs/"):
		u.blob(w, strings.TrimPrefix(at, "/v2/team/app/blobs/"))
	default:
		http.Error(w, "unknown", http.StatusNotFound)
	}
}

func (u *upstream) blob(w http.ResponseWriter, digest string) {
	blob, known := u.blobs[digest]
	if !known {
		http.Error(w, "unknown", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
	if other := u.content[digest]; other != nil {
		blob = other
	}
	half := len(blob) / 2
	_, _ = w.Write(blob[:half])
	if u.gate != nil {
		w.(http.Flusher).Flush()
		<-u.gate
	}
	_, _ = w.Write(blob[half:])
}

// fixture is a mirror with its store.
type fixture struct {
	*Mirror
	t      *testing.T
	dir    string
	server *httptest.Server
	log    *bytes.Buffer
}

func start(t *testing.T, registries ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), log: &bytes.Buffer{}}
	kept, err := store.Open(f.dir, store.Limits{Size: 64 << 20, Repository: 32 << 20, Uploads: 1}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.Mirror = &Mirror{
		Store: kept, Registries: registries, Transport: http.DefaultTransport, Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Login: func(string) authn.Authenticator { return authn.Anonymous }, Counts: &counts.Counts{},
	}
	f.server = httptest.NewServer(f.Mirror)
	t.Cleanup(f.server.Close)
	return f
}

// get makes a request as BuildKit and containerd do, which name the registry.
func (f *fixture) get(ctx context.Context, method string, u *upstream, path string, headers ...string) (status int, text []byte, header http.Header, err error) {
	request, err := http.NewRequestWithContext(ctx, method, f.server.URL+"/v2/team/app/"+path+"?ns="+u.name, http.NoBody)
	if err != nil {
		return 0, nil, nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got, err := f.server.Client().Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = got.Body.Close() }()
	text, err = io.ReadAll(got.Body)
	return got.StatusCode, text, got.Header, err
}

func random(size int) []byte {
	source := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)})
	text := make([]byte, size)
	_, _ = source.Read(text)
	return text
}

// dockerd names no registry, and an operator may have another one in the place of Docker Hub.
func TestUpstreamOfDockerHub(t *testing.T) {
	u := newUpstream(t)
	f := start(t, DockerHub)
	f.Upstreams = map[string]string{DockerHub: u.URL}
	reply, err := f.server.Client().Get(f.server.URL + "/v2/team/app/manifests/latest")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	if text, err := io.ReadAll(reply.Body); err != nil || reply.StatusCode != 200 || !bytes.Equal(text, u.manifest) {
		t.Errorf("got %d %q, %v, want the manifest", reply.StatusCode, text, err)
	}
}

func TestPull(t *testing.T) {
	blob := random(3<<20 + 7)
	u := newUpstream(t, blob, []byte{})
	f := start(t, u.name)
	for range 2 { // the second time from the store
		status, text, header, err := f.get(t.Context(), http.MethodGet, u, "manifests/latest", "Accept", manifestType)
		if err != nil || status != 200 || !bytes.Equal(text, u.manifest) || header.Get("Content-Type") != manifestType || header.Get("Docker-Content-Digest") != digestOf(u.manifest) {
			t.Fatalf("tag: %d %q %v %v", status, text, header, err)
		}
		if status, text, _, err := f.get(t.Context(), http.MethodHead, u, "manifests/"+digestOf(u.manifest)); err != nil || status != 200 || len(text) > 0 {
			t.Errorf("digest: %d %q %v", status, text, err)
		}
		status, text, header, err = f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob))
		if err != nil || status != 200 || !bytes.Equal(text, blob) || header.Get("Docker-Content-Digest") != digestOf(blob) {
			t.Errorf("blob: %d, %d bytes, %v %v", status, len(text), header, err)
		}
		if status, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(nil)); err != nil || status != 200 || len(text) > 0 {
			t.Errorf("empty blob: %d %q %v", status, text, err)
		}
	}
	for path, want := range map[string]int{
		"HEAD /v2/team/app/manifests/latest": 2, "GET /v2/team/app/manifests/latest": 0, "GET /v2/team/app/manifests/" + digestOf(u.manifest): 1,
		"GET /v2/team/app/blobs/" + digestOf(blob): 1,
	} {
		if got := u.count(path); got != want {
			t.Errorf("%s: %d requests, want %d", path, got, want)
		}
	}
	if status, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob), "Range", fmt.Sprintf("bytes=%d-", 2<<20)); err != nil || status != 206 || !bytes.Equal(text, blob[2<<20:]) {
		t.Errorf("range: %d, %d bytes, %v", status, len(text), err)
	}
	if f.log.Len() > 0 {
		t.Errorf("log:\n%s", f.log)
	}
}

func TestRefused(t *testing.T) {
	u := newUpstream(t)
	f := start(t, u.name)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v2/", 200},
		{"POST", "/v2/team/app/blobs/uploads/?ns=" + u.name, 405},
		{"DELETE", "/v2/team/app/manifests/latest?ns=" + u.name, 405},
		{"GET", "/v2/team/app/manifests/latest", 404}, // docker.io is not mirrored
		{"GET", "/v2/team/app/manifests/latest?ns=example.com", 404},
		{"GET", "/v2/team/app/manifests/none?ns=" + u.name, 404},
		{"GET", "/v2/team/app/manifests/" + digestOf([]byte("none")) + "?ns=" + u.name, 404},
		{"GET", "/v2/team/app/blobs/" + digestOf([]byte("none")) + "?ns=" + u.name, 404},
		{"HEAD", "/v2/team/app/blobs/" + digestOf([]byte("none")) + "?ns=" + u.name, 404},
		{"GET", "/v2/team/app/blobs/sha256:12?ns=" + u.name, 400},
		{"GET", "/v2/team/../app/manifests/latest?ns=" + u.name, 404},
		{"GET", "/v2/Team/app/manifests/latest?ns=" + u.name, 404},
		{"GET", "/v2/team/app/tags/list?ns=" + u.name, 404},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, f.server.URL+test.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _ = got.Body.Close(); got.StatusCode != test.status {
			t.Errorf("%s %s: %s, want %d", test.method, test.path, got.Status, test.status)
		}
	}
}

// Ten clients at once are one download, which all can read while it grows.
func TestOneDownload(t *testing.T) {
	blob := random(5 << 20)
	u := newUpstream(t, blob)
	u.gate = make(chan struct{})
	f := start(t, u.name)
	var group sync.WaitGroup
	halfway := make(chan struct{}, 10)
	for range 10 {
		group.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL+"/v2/team/app/blobs/"+digestOf(blob)+"?ns="+u.name, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := f.server.Client().Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = got.Body.Close() }()
			begin := make([]byte, 2<<20)
			if _, err := io.ReadFull(got.Body, begin); err != nil {
				t.Error(err)
			}
			halfway <- struct{}{}
			rest, err := io.ReadAll(got.Body)
			if err != nil || !bytes.Equal(append(begin, rest...), blob) {
				t.Errorf("%d bytes, %v", len(begin)+len(rest), err)
			}
		})
	}
	for range 10 {
		<-halfway
	}
	close(u.gate)
	group.Wait()
	if got := u.count("GET /v2/team/app/blobs/" + digestOf(blob)); got != 1 {
		t.Errorf("%d downloads, want 1", got)
	}
}

// A client that leaves does not end the download.
func TestClientLeaves(t *testing.T) {
	blob := random(4 << 20)
	u := newUpstream(t, blob)
	u.gate = make(chan struct{})
	f := start(t, u.name)
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, _, _, err := f.get(ctx, http.MethodGet, u, "blobs/"+digestOf(blob))
		ended <- err
	}()
	for u.count("GET /v2/team/app/blobs/"+digestOf(blob)) == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	if err := <-ended; err == nil {
		t.Error("the client got the blob, want it to leave before")
	}
	close(u.gate)
	if status, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob)); err != nil || status != 200 || !bytes.Equal(text, blob) {
		t.Errorf("the next client: %d, %d bytes, %v", status, len(text), err)
	}
	if got := u.count("GET /v2/team/app/blobs/" + digestOf(blob)); got != 1 {
		t.Errorf("%d downloads, want 1", got)
	}
}

// No client gets the whole of a blob or manifest with another digest, and nothing of it is kept.
func TestWrongContent(t *testing.T) {
	blob := random(2<<20 + 5)
	changed := bytes.Clone(blob)
	changed[9] ^= 1
	for name, content := range map[string][]byte{"changed": changed, "short": blob[:2<<20], "changed at the end": append(bytes.Clone(blob[:len(blob)-1]), blob[len(blob)-1]^1)} {
		u := newUpstream(t, blob)
		u.content[digestOf(blob)] = content
		f := start(t, u.name)
		if _, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob)); err == nil || len(text) >= len(blob) {
			t.Errorf("%s: %d bytes, %v, want fewer than %d and an error", name, len(text), err, len(blob))
		}
		delete(u.content, digestOf(blob))
		if status, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob)); err != nil || status != 200 || !bytes.Equal(text, blob) {
			t.Errorf("%s, afterwards: %d, %d bytes, %v", name, status, len(text), err)
		}
	}
	u := newUpstream(t)
	f := start(t, u.name)
	digest := digestOf(u.manifest)
	u.set(func() { u.tag = digestOf([]byte("another")) })
	if status, text, _, _ := f.get(t.Context(), http.MethodGet, u, "manifests/latest"); status != 404 {
		t.Errorf("a tag of a manifest that is not there: %d %s", status, text)
	}
	good := u.manifest
	u.manifest = append(bytes.Clone(good), ' ')
	if status, text, _, _ := f.get(t.Context(), http.MethodGet, u, "manifests/"+digest); status != 404 && status != 502 {
		t.Errorf("a changed manifest: %d %s", status, text)
	}
}

// While the registry does not answer, images that are known can be pulled.
func TestRegistryDown(t *testing.T) {
	blob := random(1000)
	u := newUpstream(t, blob)
	f := start(t, u.name)
	pull := func() (problems []string) {
		for path, want := range map[string][]byte{"manifests/latest": u.manifest, "blobs/" + digestOf(blob): blob} {
			if status, text, _, err := f.get(t.Context(), http.MethodGet, u, path, "Accept", manifestType); err != nil || status != 200 || !bytes.Equal(text, want) {
				problems = append(problems, fmt.Sprintf("%s: %d %q, %v", path, status, text, err))
			}
		}
		return problems
	}
	if problems := pull(); problems != nil {
		t.Fatal(problems)
	}
	u.set(func() { u.down = true })
	if problems := pull(); problems != nil {
		t.Errorf("with errors of the registry: %v", problems)
	}
	if !strings.Contains(f.log.String(), "the last known image is served") {
		t.Errorf("log:\n%s", f.log)
	}
	if status, _, _, err := f.get(t.Context(), http.MethodGet, u, "manifests/another"); err != nil || status != 503 {
		t.Errorf("an unknown tag: %d, %v", status, err)
	}
	u.Close()
	if problems := pull(); problems != nil {
		t.Errorf("without the registry: %v", problems)
	}
	if status, _, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf([]byte("unknown"))); err != nil || status != 502 {
		t.Errorf("an unknown blob: %d, %v", status, err)
	}
}

// The mirror logs in with the operator's credentials. Those of a client go nowhere.
func TestCredentials(t *testing.T) {
	blob := random(1000)
	u := newUpstream(t, blob)
	u.token = "given-by-the-registry"
	f := start(t, u.name)
	f.Login = func(registry string) authn.Authenticator {
		if registry != u.name {
			t.Errorf("login to %s", registry)
		}
		return &authn.Basic{Username: "operator", Password: "secret"}
	}
	if status, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob), "Authorization", "Bearer of-the-client"); err != nil || status != 200 || !bytes.Equal(text, blob) {
		t.Fatalf("%d %q %v", status, text, err)
	}
	all := strings.Join(u.logins, "\n")
	if strings.Contains(all, "of-the-client") || !strings.Contains(all, "/token Basic ") || !strings.Contains(all, "/v2/team/app/blobs/"+digestOf(blob)+" Bearer given-by-the-registry") {
		t.Errorf("logins:\n%s", all)
	}
	if files, err := filepath.Glob(filepath.Join(f.dir, "*", "*", "*")); err != nil || len(files) == 0 {
		t.Fatal(files, err)
	} else {
		for _, file := range files {
			if text, _ := os.ReadFile(file); bytes.Contains(text, []byte("secret")) || bytes.Contains(text, []byte(u.token)) {
				t.Errorf("%s holds a credential", file)
			}
		}
	}
}

// A blob that the disk has damaged is downloaded again.
func TestDamage(t *testing.T) {
	blob := random(1000)
	u := newUpstream(t, blob)
	f := start(t, u.name)
	get := func() {
		t.Helper()
		if status, text, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob)); err != nil || status != 200 || !bytes.Equal(text, blob) {
			t.Errorf("%d, %d bytes, %v", status, len(text), err)
		}
	}
	get()
	files, err := filepath.Glob(filepath.Join(f.dir, "entries", "*", "1"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], random(1001)[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	get()
	if got := u.count("GET /v2/team/app/blobs/" + digestOf(blob)); got != 2 {
		t.Errorf("%d downloads, want 2", got)
	}
}

// An image that does not fit is left to the client.
func TestTooLarge(t *testing.T) {
	blob := random(33 << 20)
	u := newUpstream(t, blob)
	f := start(t, u.name)
	if status, _, _, err := f.get(t.Context(), http.MethodGet, u, "blobs/"+digestOf(blob)); err != nil || status != 502 {
		t.Errorf("got %d, %v, want 502", status, err)
	}
}

// A registry that sends nothing more ends the download, so that clients can ask it themselves.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		heard := whenSilent(cancel)
		defer heard.Stop()
		for range 3 {
			time.Sleep(silenceLimit - time.Second)
			if _, err := heard.Write([]byte("x")); err != nil || ctx.Err() != nil {
				t.Fatal(err, ctx.Err())
			}
		}
		time.Sleep(silenceLimit + time.Second)
		if ctx.Err() == nil {
			t.Error("the download goes on")
		}
	})
}

// Jobs choose the Accept of a request, but not the number of keys.
func TestAcceptable(t *testing.T) {
	all := acceptable(nil)
	for name, test := range map[string]struct {
		given []string
		want  string
	}{
		"one":            {[]string{manifestType}, manifestType},
		"with a quality": {[]string{manifestType + ";q=0.9"}, manifestType},
		"another":        {[]string{"text/plain"}, all},
		"any":            {[]string{"*/*"}, all},
	} {
		if got := acceptable(test.given); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	parts := strings.Split(all, ", ")
	slices.Reverse(parts)
	if got := acceptable(parts); got != all {
		t.Errorf("in another order: got %q, want %q", got, all)
	}
}
