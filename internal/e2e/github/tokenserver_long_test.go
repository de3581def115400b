//go:build linux && long

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
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/config"
)

// tokenServer is the part of a GitHub Enterprise Server that makes registration tokens, on
// the address of Docker's bridge, with its own certificate.
type tokenServer struct {
	host string // with port
	key  string // of the App 42, in PEM on one line
	cert []byte // PEM
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	app := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	s := &tokenServer{key: strings.ReplaceAll(string(app), "\n", `\n`)}
	server, cert := onBridge(t, s.handler(&key.PublicKey))
	s.host, s.cert = strings.TrimPrefix(server.URL, "https://"), cert
	return s
}

// trusted adds the certificate to the machine's own list.
func (s *tokenServer) trusted(loaded *config.Config) {
	loaded.Image.Dockerfile = "RUN echo " + base64.StdEncoding.EncodeToString(s.cert) + " | base64 -d >/usr/local/share/ca-certificates/test.crt && update-ca-certificates\n"
}

func (s *tokenServer) handler(key *rsa.PublicKey) http.Handler {
	answer := func(w http.ResponseWriter, status int, value any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(value)
	}
	guard := func(allowed func(token string) bool, value any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok || !allowed(token) {
				answer(w, http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
				return
			}
			status := http.StatusOK
			if r.Method == http.MethodPost {
				status = http.StatusCreated
			}
			answer(w, status, value)
		}
	}
	is := func(tokens ...string) func(string) bool {
		return func(token string) bool { return strings.Contains(" "+strings.Join(tokens, " ")+" ", " "+token+" ") }
	}
	registration := map[string]string{"token": "registration-made-inside"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v3/repos/acme/api/actions/runners/registration-token", guard(is("ghp_good"), registration))
	var failed atomic.Bool
	flaky := guard(is("ghp_good"), registration)
	mux.HandleFunc("POST /api/v3/repos/acme/flaky/actions/runners/registration-token", func(w http.ResponseWriter, r *http.Request) {
		if failed.CompareAndSwap(false, true) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html><body>Unicorn!</body></html>\n")
			return
		}
		flaky(w, r)
	})
	mux.HandleFunc("POST /api/v3/orgs/acme/actions/runners/registration-token", guard(is("ghs_installed"), registration))
	signed := func(token string) bool { return isJWT(token, key) }
	mux.HandleFunc("GET /api/v3/app/installations", guard(signed, []any{
		map[string]any{"id": 6, "account": map[string]string{"login": "else"}}, map[string]any{"id": 7, "account": map[string]string{"login": "Acme"}}}))
	mux.HandleFunc("POST /api/v3/app/installations/7/access_tokens", guard(signed, map[string]string{"token": "ghs_installed"}))
	return mux
}

// isJWT reports whether a token is a valid JWT of the GitHub App.
func isJWT(token string, key *rsa.PublicKey) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	now := time.Now().Unix()
	return err == nil && json.Unmarshal(text, &claims) == nil && claims.Iss == "42" && claims.Iat <= now && claims.Exp > now && claims.Exp-claims.Iat <= 600
}
