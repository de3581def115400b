package ghsim

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	runnerToken   = time.Hour // lifetime of a runner's own token
)

func (s *Server) authorizationURL() string { return s.RunnerURL + "/oauth/token" }

// oauth gives a runner a token in exchange for an assertion that is signed with its key.
func (s *Server) oauth(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Get("client_assertion_type") != assertionType {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "grant_type or client_assertion_type"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	who, err := s.asserted(r.PostForm.Get("client_assertion"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_client", "error_description": err.Error()})
		return
	}
	recordOf(r).Who = "runner " + who.name
	token := s.issue("runner.", &actor{name: "runner " + who.name, runner: who}, runnerToken)
	writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": int(runnerToken.Seconds()), "token_type": "JWT"})
}

// asserted verifies an assertion. It must be signed with the runner's key by PS256, for this
// address, valid now, and new. The caller must hold s.mu.
func (s *Server) asserted(assertion string) (*runner, error) {
	var claims jwt.RegisteredClaims
	var found *runner
	parser := jwt.NewParser(jwt.WithoutClaimsValidation()) // checked below, by this server's clock
	_, err := parser.ParseWithClaims(assertion, &claims, func(token *jwt.Token) (any, error) {
		for _, r := range s.runners {
			if r.clientID == claims.Issuer {
				found = r
			}
		}
		if found == nil || token.Method != jwt.SigningMethodPS256 {
			return nil, fmt.Errorf("signed by %s, not by PS256", token.Method.Alg())
		}
		return found.key, nil
	})
	now := s.now()
	switch {
	case found == nil:
		return nil, fmt.Errorf("Registration %s was not found.", claims.Issuer) //nolint:revive,staticcheck // GitHub's words
	case err != nil:
		return nil, err
	case claims.Subject != claims.Issuer:
		return nil, errors.New("the subject is not the issuer")
	case !slices.Contains(claims.Audience, s.authorizationURL()):
		return nil, fmt.Errorf("the audience %v is not %s", claims.Audience, s.authorizationURL())
	case claims.ExpiresAt == nil || claims.NotBefore == nil || claims.ID == "":
		return nil, errors.New("exp, nbf or jti is missing")
	case claims.ExpiresAt.Before(now):
		return nil, fmt.Errorf("The bearer token expired on %s. Current server time is %s.", claims.ExpiresAt.UTC(), now.UTC()) //nolint:revive,staticcheck // GitHub's words
	case claims.NotBefore.After(now):
		return nil, fmt.Errorf("The bearer token is not valid until %s. Current server time is %s.", claims.NotBefore.UTC(), now.UTC()) //nolint:revive,staticcheck // GitHub's words
	}
	maps.DeleteFunc(s.used, func(_ string, until time.Time) bool { return until.Before(now) })
	if _, again := s.used[claims.ID]; again {
		return nil, fmt.Errorf("the assertion %s was used before", claims.ID)
	}
	s.used[claims.ID] = claims.ExpiresAt.Time
	return found, nil
}
