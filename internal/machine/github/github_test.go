package github

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/machine"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// server is a GitHub that knows one App.
type server struct {
	*httptest.Server
	key   *rsa.PrivateKey
	calls []string
	bad   int // answers 502 so many times
}

func newServer(t *testing.T) *server {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{key: key}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	if s.bad > 0 {
		s.bad--
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html>"))
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case r.URL.Path == "/app/installations" && s.signed(token):
		_, _ = w.Write([]byte(`[{"id":1,"account":{"login":"other"}},{"id":7,"account":{"login":"ACME"}}]`))
	case r.URL.Path == "/app/installations/7/access_tokens" && s.signed(token):
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token":"ghs_installation"}`))
	case strings.HasSuffix(r.URL.Path, "/actions/runners/registration-token") && (token == "ghp_good" || token == "ghs_installation"):
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token":"registration"}`))
	default:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"message":"Bad credentials%s"}`, strings.Repeat("!", 300))
	}
}

// signed reports whether a token is the App's own.
func (s *server) signed(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	return json.Unmarshal(text, &claims) == nil && claims.Iss == "42" && claims.Iat == now.Unix()-60 && claims.Exp == now.Unix()+540
}

func (s *server) ask(t *testing.T, mode machine.AgentMode, credential string) (string, error) {
	t.Helper()
	client := Client{HTTP: s.Client(), Now: func() time.Time { return now }}
	return client.RegistrationToken(t.Context(), mode, s.URL+"/repos/acme/api", credential)
}

func credential(login string, key []byte) string {
	return "42 " + login + " " + base64.StdEncoding.EncodeToString(key)
}

func TestRegistrationToken(t *testing.T) {
	s := newServer(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(s.key)})
	for name, test := range map[string]struct {
		mode       machine.AgentMode
		credential string
	}{
		"an access token":   {machine.AccessToken, "ghp_good"},
		"an App":            {machine.App, credential("acme", pkcs1)},
		"an App in PKCS 8":  {machine.App, credential("Acme", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))},
		"a key in one line": {machine.App, credential("acme", []byte(strings.ReplaceAll(strings.TrimSpace(string(pkcs1)), "\n", `\n`)))},
	} {
		if got, err := s.ask(t, test.mode, test.credential); err != nil || got != "registration" {
			t.Errorf("%s: got %q, %v, want the token", name, got, err)
		}
	}
	for want, test := range map[string]struct {
		mode       machine.AgentMode
		credential string
	}{
		"POST " + s.URL + "/repos/acme/api/actions/runners/registration-token: GitHub answered 401: Bad credentials!": {machine.AccessToken, "ghp_bad"},
		"the App 42 is not installed for nobody":      {machine.App, credential("nobody", pkcs1)},
		"APP_PRIVATE_KEY is not a private key in PEM": {machine.App, credential("acme", []byte("x"))},
		"GitHub answered 401":                         {machine.App, credential("acme", otherKey(t))},
		"the App's credential is incomplete":          {machine.App, "42"},
	} {
		if got, err := s.ask(t, test.mode, test.credential); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ghp_") || got != "" || len(err.Error()) > 400 {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func otherKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// A bad moment of GitHub is waited for; a refusal is not.
func TestBadMoments(t *testing.T) {
	s := newServer(t)
	s.bad = 1
	if got, err := s.ask(t, machine.AccessToken, "ghp_good"); err != nil || got != "registration" || len(s.calls) != 2 {
		t.Errorf("got %q, %v after %v, want the token at the second try", got, err, s.calls)
	}
	s.calls = nil
	if _, err := s.ask(t, machine.AccessToken, "ghp_bad"); err == nil || len(s.calls) != 1 {
		t.Errorf("%v after %v, want a refusal at once", err, s.calls)
	}
	for status, want := range map[int]bool{500: true, 502: true, 429: true, 408: true, 404: false, 422: false} {
		if got := transient(status); got != want {
			t.Errorf("%d: %t, want %t", status, got, want)
		}
	}
}

func TestAddressOfTheAPI(t *testing.T) {
	for target, want := range map[string]string{
		"https://api.github.com/repos/a/b":              "https://api.github.com",
		"https://ghes.example.com/api/v3/orgs/a":        "https://ghes.example.com/api/v3",
		"https://ghes.example.com/api/v3/enterprises/a": "https://ghes.example.com/api/v3",
	} {
		if got := api(target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}
