// Package mirror serves images of other registries from a cache: a pull-through mirror, by the
// protocol of the OCI's distribution specification. Concurrent pulls of a blob are one download. A
// client gets the last byte of a blob only if the digest of the whole is right.
package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
)

// DockerHub is the default registry: dockerd's requests name none.
const DockerHub = "docker.io"

// Mirror is an http.Handler.
type Mirror struct {
	Store      *store.Store
	Registries []string                                  // names, like ghcr.io; no other is asked
	Upstreams  map[string]string                         // URLs that are asked in a registry's place
	Login      func(registry string) authn.Authenticator // of the operator: a client's credentials go nowhere
	Transport  http.RoundTripper
	Counts     *counts.Counts
	Log        *slog.Logger

	mutex     sync.Mutex
	downloads map[string]*download         // by digest
	upstreams map[string]http.RoundTripper // by registry and repository
}

const (
	mostManifest  = 4 << 20 // bytes, as in distribution
	manifestLimit = time.Minute
	mostUpstreams = 1000 // repositories with a token; jobs can invent names
)

var (
	pathPattern   = regexp.MustCompile(`^/v2/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)/(manifests|blobs)/([A-Za-z0-9_][A-Za-z0-9._:-]{0,127})$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// image is a repository of a registry.
type image struct{ registry, repository string }

func (m *Mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "a mirror can only be read")
		return
	}
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}") // the client has gone
		return
	}
	from := image{registry: r.URL.Query().Get("ns")}
	if from.registry == "" {
		from.registry = DockerHub
	}
	parts := pathPattern.FindStringSubmatch(r.URL.Path)
	if parts == nil || !m.mirrors(from.registry) {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "not mirrored")
		return
	}
	from.repository = parts[1]
	switch what, reference := parts[2], parts[3]; {
	case what == "manifests":
		m.manifest(w, r, from, reference)
	case digestPattern.MatchString(reference):
		m.blob(w, r, from, reference)
	default:
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "only sha256")
	}
}

func (m *Mirror) mirrors(registry string) bool {
	for _, one := range m.Registries {
		if one == registry {
			return true
		}
	}
	return false
}

// owner is that of all blobs and manifests of a registry in the store. They are common to all jobs: an
// operator who gives the mirror credentials gives every job the images that they open.
func owner(registry string) store.Owner {
	return store.Owner{Repository: registry, Scope: Scope, Job: "mirror"}
}

// tagOwner is that of a registry's tags. Jobs can ask for any number of them, which must not replace the
// blobs.
func tagOwner(registry string) store.Owner {
	return store.Owner{Repository: registry + " tags", Scope: Scope, Job: "mirror"}
}

// Scope is the scope of the mirror's entries in the store, and version their version.
const (
	Scope   = "registry"
	version = "1"
)

func (m *Mirror) find(of store.Owner, key string) (store.Entry, bool) {
	return m.Store.Find(store.Query{Repository: of.Repository, Scopes: []string{of.Scope}, Version: version, Key: key})
}

// read returns a small entry.
func (m *Mirror) read(of store.Owner, key string) (text []byte, found bool) {
	entry, found := m.find(of, key)
	if !found || entry.Key != key || entry.Size > 2*mostManifest {
		return nil, false
	}
	reader, err := m.Store.Reader(entry.ID)
	if err != nil {
		return nil, false
	}
	defer func() { _ = reader.Close() }() // files that a later start removes
	var out strings.Builder
	if err := reader.Copy(&out, 0, reader.Size); err != nil {
		m.Log.Warn("entry of the mirror", "key", key, "error", err)
		return nil, false
	}
	return []byte(out.String()), true
}

// write saves a small entry in place of another one. A failure costs another download.
func (m *Mirror) write(of store.Owner, key string, text []byte) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if entry, found := m.find(of, key); found && entry.Key == key {
		if err := m.Store.Remove(entry.ID); err != nil && !errors.Is(err, store.ErrUnknown) {
			m.Log.Warn("entry of the mirror", "key", key, "error", err)
			return
		}
	}
	id, err := m.Store.Reserve(of, key, version)
	if err == nil {
		err = m.Store.Put(id, "", strings.NewReader(string(text)))
	}
	if err == nil {
		err = m.Store.Commit(id, []string{""})
	}
	if err == nil {
		_, err = m.Store.Finalize(of, key, version, int64(len(text)))
	}
	if err != nil {
		m.Log.Warn("entry of the mirror", "key", key, "error", errors.Join(err, m.Store.Discard(id)))
	}
}

// ask makes a request to a registry, with a token of the registry for this repository.
func (m *Mirror) ask(ctx context.Context, from image, method, path, accept string) (*http.Response, error) {
	registry, err := m.upstreamOf(from.registry)
	if err != nil {
		return nil, err
	}
	to, err := m.upstream(ctx, registry, from)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("%s://%s/v2/%s/%s", registry.Scheme(), registry.RegistryStr(), from.repository, path), http.NoBody) //nolint:gosec // the host is one of the settings
	if err != nil {
		return nil, err
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	return (&http.Client{Transport: to}).Do(request) //nolint:gosec // the same
}

// upstreamOf returns the registry that is asked.
func (m *Mirror) upstreamOf(registry string) (name.Registry, error) {
	given := m.Upstreams[registry]
	if given == "" {
		return name.NewRegistry(registry)
	}
	to, err := url.Parse(given)
	if err != nil {
		return name.Registry{}, err
	}
	if to.Scheme == "http" {
		return name.NewRegistry(to.Host, name.Insecure)
	}
	return name.NewRegistry(to.Host)
}

// upstream returns a transport with a token. It stays valid: the transport renews the token.
func (m *Mirror) upstream(ctx context.Context, registry name.Registry, from image) (http.RoundTripper, error) {
	key := from.registry + "/" + from.repository
	m.mutex.Lock()
	known := m.upstreams[key]
	m.mutex.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := transport.NewWithContext(ctx, registry, m.Login(from.registry), m.Transport, []string{registry.Repo(from.repository).Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.upstreams == nil || len(m.upstreams) >= mostUpstreams {
		m.upstreams = map[string]http.RoundTripper{}
	}
	m.upstreams[key] = made
	return made, nil
}

// Forget forgets the tokens of registries, after a change of logins.
func (m *Mirror) Forget() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.upstreams = nil
}

// mediaTypes are those of manifests (opencontainers/image-spec, distribution's image-v2-2.md). Docker Hub
// answers others with a manifest of version 1.
var mediaTypes = []types.MediaType{
	types.OCIImageIndex, types.OCIManifestSchema1, types.DockerManifestList, types.DockerManifestSchema2,
}

// acceptable returns the media types of manifests in a client's Accept, in a fixed order: it is part of a
// key. Without any, all are acceptable.
func acceptable(headers []string) string {
	given := strings.Join(headers, ",")
	var known []string
	for _, one := range mediaTypes {
		if strings.Contains(given, string(one)) {
			known = append(known, string(one))
		}
	}
	if len(known) == 0 {
		for _, one := range mediaTypes {
			known = append(known, string(one))
		}
	}
	return strings.Join(known, ", ")
}

// manifest serves a manifest by its digest or by a tag.
func (m *Mirror) manifest(w http.ResponseWriter, r *http.Request, from image, reference string) {
	ctx, cancel := context.WithTimeout(r.Context(), manifestLimit)
	defer cancel()
	accept := acceptable(r.Header.Values("Accept"))
	digest, err := reference, error(nil)
	if !digestPattern.MatchString(reference) {
		if digest, err = m.resolve(ctx, from, reference, accept); err != nil {
			m.fail(w, from, err)
			return
		}
	}
	kind, text, err := m.manifestOf(ctx, from, digest, accept)
	if err != nil {
		m.fail(w, from, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Etag", `"`+digest+`"`)
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) //nolint:gosec // a manifest for Docker; the client may have gone
	}
}

// resolve returns the digest of a tag now. HEAD is not limited by Docker Hub. Without an answer of
// the registry, the last known digest is good.
func (m *Mirror) resolve(ctx context.Context, from image, tag, accept string) (digest string, err error) {
	key, of := "tag "+from.repository+":"+tag+" "+accept, tagOwner(from.registry)
	answer, err := m.ask(ctx, from, http.MethodHead, "manifests/"+tag, accept)
	if err == nil {
		_ = answer.Body.Close()
		digest = answer.Header.Get("Docker-Content-Digest")
		switch {
		case answer.StatusCode == http.StatusOK && digestPattern.MatchString(digest):
			if known, _ := m.read(of, key); string(known) != digest {
				m.write(of, key, []byte(digest))
			}
			return digest, nil
		case answer.StatusCode == http.StatusOK:
			return "", fmt.Errorf("tag %s: the registry names no digest", tag)
		case answer.StatusCode < http.StatusInternalServerError && answer.StatusCode != http.StatusTooManyRequests:
			return "", statusError(answer.StatusCode)
		default:
			err = statusError(answer.StatusCode)
		}
	}
	if known, found := m.read(of, key); found {
		m.Log.Warn("the registry does not answer: the last known image is served", "registry", from.registry, "repository", from.repository, "tag", tag, "error", err)
		return string(known), nil
	}
	return "", err
}

// manifestOf returns a manifest and its media type.
func (m *Mirror) manifestOf(ctx context.Context, from image, digest, accept string) (kind string, text []byte, err error) {
	key := "manifest " + digest
	if kept, found := m.read(owner(from.registry), key); found {
		kind, body, _ := strings.Cut(string(kept), "\n")
		return kind, []byte(body), nil
	}
	answer, err := m.ask(ctx, from, http.MethodGet, "manifests/"+digest, accept)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return "", nil, statusError(answer.StatusCode)
	}
	text, err = io.ReadAll(io.LimitReader(answer.Body, mostManifest+1))
	if err != nil {
		return "", nil, err
	}
	if sum := sha256.Sum256(text); len(text) > mostManifest || "sha256:"+hex.EncodeToString(sum[:]) != digest {
		return "", nil, fmt.Errorf("manifest %s: %w", digest, errDigest)
	}
	kind = answer.Header.Get("Content-Type")
	m.write(owner(from.registry), key, []byte(strings.ReplaceAll(kind, "\n", "")+"\n"+string(text)))
	return kind, text, nil
}

var errDigest = errors.New("the registry's answer has another digest")

// statusError is the status of a registry's answer.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the registry answers %d %s", int(e), http.StatusText(int(e)))
}

// fail answers an error. Clients continue with the registry itself.
func (m *Mirror) fail(w http.ResponseWriter, from image, err error) {
	status := http.StatusBadGateway
	var answered statusError
	var refused *transport.Error
	switch {
	case errors.As(err, &answered):
		status = int(answered)
	case errors.As(err, &refused) && refused.StatusCode > 0:
		status = refused.StatusCode
	}
	if status < 400 {
		status = http.StatusBadGateway
	}
	if status == http.StatusBadGateway {
		m.Log.Warn("mirror", "registry", from.registry, "repository", from.repository, "error", err)
	}
	refuse(w, status, "UNAVAILABLE", err.Error())
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message) //nolint:gosec // JSON for Docker; the client may have gone
}
