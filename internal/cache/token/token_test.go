package token

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func key(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// sign signs claims with a key of any kind.
func sign(t *testing.T, algorithm jose.SignatureAlgorithm, with any, id string, claims any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: with}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// good are the claims of a job on a pull request: its own scope first, then main's.
func good() map[string]any {
	return map[string]any{
		"iss": GitHub, "repository_id": "42", "scp": "Actions.GenericRead:0 Actions.Results:run-1:job-2 Actions.UploadArtifacts:run-1/1:run-1",
		"ac":  `[{"Scope":"refs/pull/7/merge","Permission":3},{"Scope":"refs/heads/main","Permission":1}]`,
		"nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

func without(name string) map[string]any {
	claims := good()
	delete(claims, name)
	return claims
}

func with(name string, value any) map[string]any {
	claims := good()
	claims[name] = value
	return claims
}

type fixed []jose.JSONWebKey

func (f fixed) Keys(_ context.Context, id string) ([]jose.JSONWebKey, error) {
	return (&jose.JSONWebKeySet{Keys: f}).Key(id), nil
}

func TestVerify(t *testing.T) {
	own, other := key(t), key(t)
	v := Verifier{Issuer: GitHub, Now: func() time.Time { return now }, Keys: fixed{{Key: own.Public(), KeyID: "one", Use: "sig"}}}
	signed := sign(t, jose.RS256, own, "one", good())
	got, err := v.Verify(t.Context(), signed)
	want := Identity{
		Repository: "42", Job: "run-1:job-2",
		Scopes: []Scope{{"refs/pull/7/merge", true}, {"refs/heads/main", false}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	if scope, may := got.Writable(); scope != "refs/pull/7/merge" || !may {
		t.Errorf("writes to %q, %t", scope, may)
	}
	if _, may := (Identity{Scopes: got.Scopes[1:]}).Writable(); may {
		t.Error("a job without the permission may write")
	}

	changed := func(part int, from, to string) string {
		parts := strings.Split(signed, ".")
		text, err := base64.RawURLEncoding.DecodeString(parts[part])
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%s has no %q (%v)", text, from, err)
		}
		parts[part] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(text), from, to, 1)))
		return strings.Join(parts, ".")
	}
	public, err := x509.MarshalPKIXPublicKey(own.Public())
	if err != nil {
		t.Fatal(err)
	}
	asSecret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	unsigned := changed(0, "RS256", "none")
	for name, text := range map[string]string{
		"empty":                        "",
		"no token":                     "token",
		"another scope":                changed(1, "refs/pull/7/merge", "refs/heads/main"),
		"another repository":           changed(1, `"42"`, `"43"`),
		"algorithm none":               unsigned[:strings.LastIndex(unsigned, ".")+1],
		"algorithm none, signed":       unsigned,
		"the public key as a secret":   sign(t, jose.HS256, asSecret, "one", good()),
		"another algorithm":            sign(t, jose.RS512, own, "one", good()),
		"another key under a known id": sign(t, jose.RS256, other, "one", good()),
		"an unknown key":               sign(t, jose.RS256, other, "two", good()),
		"no key's id":                  sign(t, jose.RS256, own, "", good()),
		"a key of its own":             sign(t, jose.RS256, jose.JSONWebKey{Key: other, KeyID: "one"}, "", good()),
		"expired":                      sign(t, jose.RS256, own, "one", with("exp", now.Add(-leeway-time.Second).Unix())),
		"not valid yet":                sign(t, jose.RS256, own, "one", with("nbf", now.Add(leeway+time.Second).Unix())),
		"no end":                       sign(t, jose.RS256, own, "one", without("exp")),
		"another issuer":               sign(t, jose.RS256, own, "one", with("iss", "https://example.com")),
		"no issuer":                    sign(t, jose.RS256, own, "one", without("iss")),
		"an ID token":                  sign(t, jose.RS256, own, "one", without("ac")),
		"no access":                    sign(t, jose.RS256, own, "one", with("ac", "[]")),
		"access without permission":    sign(t, jose.RS256, own, "one", with("ac", `[{"Scope":"refs/heads/main","Permission":4}]`)),
		"access to no scope":           sign(t, jose.RS256, own, "one", with("ac", `[{"Scope":"","Permission":3}]`)),
		"access that is no JSON":       sign(t, jose.RS256, own, "one", with("ac", "refs/heads/main")),
		"no repository":                sign(t, jose.RS256, own, "one", without("repository_id")),
		"no job":                       sign(t, jose.RS256, own, "one", without("scp")),
	} {
		if got, err := v.Verify(t.Context(), text); !errors.Is(err, ErrRefused) || !reflect.DeepEqual(got, Identity{}) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, ErrRefused)
		}
	}
}

// issuer publishes keys until it fails, and counts the requests.
type issuer struct {
	*httptest.Server
	keys  atomic.Pointer[jose.JSONWebKeySet]
	fails atomic.Bool
	asked atomic.Int32
}

func newIssuer(t *testing.T, keys map[string]any) *issuer {
	t.Helper()
	i := &issuer{}
	i.publish(keys)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		if r.URL.Path != "/at/.well-known/jwks" || i.fails.Load() {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(i.keys.Load())
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(keys map[string]any) {
	var set jose.JSONWebKeySet
	for id, key := range maps.All(keys) {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: id, Use: "sig", Algorithm: "RS256"})
	}
	i.keys.Store(&set)
}

func TestKeys(t *testing.T) {
	one, two := key(t).Public(), key(t).Public()
	server := newIssuer(t, map[string]any{"one": one})
	clock := now
	file := filepath.Join(t.TempDir(), "keys")
	start := func() *Fetched {
		return &Fetched{Issuer: server.URL + "/at", Client: server.Client(), File: file, Now: func() time.Time { return clock }}
	}
	source := start()
	look := func(what, id string, found bool, asked int32) {
		t.Helper()
		keys, err := source.Keys(t.Context(), id)
		if got := len(keys) == 1; got != found || server.asked.Load() != asked || err == nil == server.fails.Load() && !found {
			t.Errorf("%s: found %t, %v, after %d requests, want %t after %d", what, got, err, server.asked.Load(), found, asked)
		}
	}
	look("first", "one", true, 1)
	look("known", "one", true, 1)
	look("unknown, at once", "two", false, 1)
	server.publish(map[string]any{"one": one, "two": two})
	clock = clock.Add(pause)
	look("new, after the pause", "two", true, 2)
	clock = clock.Add(fresh)
	server.publish(map[string]any{"two": two})
	look("withdrawn", "one", false, 3)
	server.fails.Store(true)
	clock = clock.Add(fresh)
	look("the issuer fails", "two", true, 4)
	look("the issuer fails, unknown", "three", false, 4)
	source = start()
	look("a start without the issuer", "two", true, 5)
	look("a start without the issuer, unknown", "one", false, 5)
}
