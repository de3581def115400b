package ghapi

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/runnerctl/runnerctl/internal/secret"
)

func newKey(t *testing.T) (*rsa.PrivateKey, secret.Text) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key, secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
}

// withApp lets the fake know an App, whose JWT it holds against its own clock.
func (f *fake) withApp(key *rsa.PrivateKey, clock func() time.Time) {
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/v3")
		if path != strings.TrimPrefix(f.route, "/api/v3")+"/installation" && path != "/app/installations/77/access_tokens" {
			inner.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Date", clock().UTC().Format(http.TimeFormat))
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+path)
		f.mu.Unlock()
		var claims jwt.RegisteredClaims
		parser := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{"RS256"}))
		_, err := parser.ParseWithClaims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil })
		now := clock()
		if err != nil || claims.Issuer != "5" || !claims.VerifyExpiresAt(now, true) || !claims.VerifyIssuedAt(now.Add(time.Minute), true) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"}`)
			return
		}
		if strings.HasSuffix(path, "/installation") {
			fmt.Fprint(w, `{"id":77}`)
			return
		}
		f.mu.Lock()
		token := fmt.Sprintf("ghs_%d", len(f.tokens))
		f.tokens = append(f.tokens, token)
		f.mu.Unlock()
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":%q,"expires_at":%q}`, token, now.Add(time.Hour).Format(time.RFC3339))
	})
}

func TestApp(t *testing.T) {
	for _, route := range []string{"repos/acme/api", "orgs/acme", "enterprises/big"} {
		f := newFake(t, route)
		key, text := newKey(t)
		f.withApp(key, time.Now)
		client, _ := f.client(t, Auth{App: &App{ID: 5, Key: text}})
		for range 3 {
			if _, err := client.Runners(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := fmt.Sprintf("[GET /%[1]s/installation POST /app/installations/77/access_tokens GET /%[1]s/actions/runners GET /%[1]s/actions/runners GET /%[1]s/actions/runners]", route)
		if got := fmt.Sprint(f.asked); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAppRefused(t *testing.T) {
	key, text := newKey(t)
	_, other := newKey(t)
	late := func() time.Time { return time.Now().Add(10 * time.Minute) }
	early := func() time.Time { return time.Now().Add(-10 * time.Minute) }
	tests := []struct {
		name  string
		app   App
		clock func() time.Time
		want  string
	}{
		{"clock behind", App{ID: 5, Key: text}, late, "this machine's clock is "},
		{"clock behind, at the token", App{ID: 5, InstallationID: 77, Key: text}, late, "behind GitHub's"},
		{"clock ahead", App{ID: 5, Key: text}, early, "ahead of GitHub's"},
		{"another key", App{ID: 5, Key: other}, time.Now, "the GitHub App 5 is not valid"},
		{"no key", App{ID: 5, Key: secret.New("hunter2")}, time.Now, "github.app.keyFile"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, "orgs/acme")
			f.withApp(key, test.clock)
			client, _ := f.client(t, Auth{App: &test.app})
			_, err := client.Runners(t.Context())
			var denied *AuthError
			if !errors.As(err, &denied) || !strings.Contains(hintOf(err), test.want) {
				t.Errorf("%v, hint %q, want %T with the hint %q", err, hintOf(err), denied, test.want)
			}
			if all := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(all, "hunter2") || strings.Contains(all, "PRIVATE") {
				t.Error("the error has the key, want it hidden")
			}
		})
	}
}

// A token that GitHub made for the App and that a fault then takes is asked for
// again, not given up.
func TestAppTokenFault(t *testing.T) {
	f := newFake(t, "orgs/acme")
	key, text := newKey(t)
	f.withApp(key, time.Now)
	inner, failed := f.Config.Handler, false
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/access_tokens") && !failed {
			failed = true
			recorder := httptest.NewRecorder()
			inner.ServeHTTP(recorder, r)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		inner.ServeHTTP(w, r)
	})
	client, waits := f.client(t, Auth{App: &App{ID: 5, Key: text}})
	if _, err := client.Runners(t.Context()); err != nil || len(*waits) != 1 {
		t.Errorf("got %v, waited %v, want no error and one wait", err, *waits)
	}
}
