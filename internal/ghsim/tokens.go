package ghsim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// actor is the identity behind a token.
type actor struct {
	name        string            // for records
	classic     []string          // scopes of a classic token
	permissions map[string]string // of a fine-grained token or an installation: "administration": "write"
	owner       string            // the account that the permissions are for
	integration bool              // it is an installation's
	expires     time.Time         // zero: never

	admin  place   // a registration or remove token is for this place
	remove bool    // it is a remove token
	runner *runner // a runner's own token
	job    *job    // a job's token
}

// app is a GitHub App.
type app struct {
	id            int64
	key           *rsa.PublicKey
	installations map[int64]*installation
}

type installation struct {
	id          int64
	owner       string
	permissions map[string]string
}

// Permissions as GitHub documents them.
const (
	repoRunners = "administration"
	orgRunners  = "organization_self_hosted_runners"
)

// RunnerPermissions returns the permissions that an App or a fine-grained token needs for this
// whole API.
func RunnerPermissions() map[string]string {
	return map[string]string{repoRunners: "write", orgRunners: "write", "metadata": "read", "actions": "read"}
}

// ClassicToken makes a personal access token with scopes such as repo, admin:org,
// manage_runners:enterprise. With lifetime 0 it never expires; lifetime may be negative.
func (s *Server) ClassicToken(lifetime time.Duration, scopes ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue("ghp_", &actor{name: fmt.Sprintf("classic token %d", s.id()), classic: append([]string{}, scopes...)}, lifetime)
}

// FineGrainedToken makes a personal access token for the resources of one owner.
func (s *Server) FineGrainedToken(lifetime time.Duration, owner string, permissions map[string]string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue("github_pat_", &actor{name: fmt.Sprintf("fine-grained token %d", s.id()), owner: owner, permissions: maps.Clone(permissions)}, lifetime)
}

// App makes a GitHub App and returns its id, and its private key as PEM.
func (s *Server) App() (id int64, key []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return 0, nil, fmt.Errorf("key of an App: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &app{id: s.id(), key: &private.PublicKey, installations: map[int64]*installation{}}
	s.apps[made.id] = made
	return made.id, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}), nil
}

// Install installs an App for an owner and returns the installation's id.
func (s *Server) Install(appID int64, owner string, permissions map[string]string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &installation{id: s.id(), owner: owner, permissions: maps.Clone(permissions)}
	s.apps[appID].installations[made.id] = made
	return made.id
}

// issue makes a token for an actor. The caller must hold s.mu.
func (s *Server) issue(prefix string, who *actor, lifetime time.Duration) string {
	if lifetime != 0 {
		who.expires = s.now().Add(lifetime)
	}
	token := prefix + rand.Text() + rand.Text()
	s.actors[token] = who
	return token
}

// who finds the actor of a request, for the schemes of the Authorization header that GitHub
// accepts. It returns nil if the token is missing, unknown or expired. The caller must hold
// s.mu.
func (s *Server) who(r *http.Request) *actor {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch strings.ToLower(scheme) {
	case "bearer", "token", "remoteauth":
	case "basic":
		decoded, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			return nil
		}
		_, token, _ = strings.Cut(string(decoded), ":")
	default:
		return nil
	}
	found := s.actors[strings.TrimSpace(token)]
	if found == nil || !found.expires.IsZero() && s.now().After(found.expires) {
		return nil
	}
	if found.admin == "" && strings.EqualFold(scheme, "remoteauth") {
		return nil // for registration and remove tokens only
	}
	return found
}

// appOf verifies the JWT of an App that calls for itself. The caller must hold s.mu.
func (s *Server) appOf(r *http.Request) (*app, string) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, "A JSON web token could not be decoded"
	}
	var claims jwt.RegisteredClaims
	var found *app
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	_, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) {
		id, _ := strconv.ParseInt(claims.Issuer, 10, 64)
		if found = s.apps[id]; found == nil {
			return nil, fmt.Errorf("no App %q", claims.Issuer)
		}
		return found.key, nil
	})
	now := s.now()
	switch {
	case found == nil:
		return nil, "A JSON web token could not be decoded"
	case err != nil:
		return nil, "A JSON web token could not be decoded"
	case claims.IssuedAt == nil || claims.IssuedAt.After(now):
		return nil, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	case claims.ExpiresAt == nil || claims.ExpiresAt.Before(now):
		return nil, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	case claims.ExpiresAt.After(now.Add(10 * time.Minute)):
		return nil, "'Expiration time' claim ('exp') is too far in the future"
	}
	return found, ""
}

// need is the permission that a call requires of its token.
type need struct {
	permission, level string // of fine-grained tokens and installations
	admin             bool   // a registration token is enough
	remove            bool   // a remove token is enough
}

// allows returns nil if a has the permission n at p, and otherwise the refusal in GitHub's
// words. The caller must hold s.mu.
func (s *Server) allows(a *actor, p place, n need) *problem {
	held := s.places[p]
	public := held != nil && held.visibility == Public
	switch {
	case a == nil:
		return &problem{status: http.StatusUnauthorized, message: "Bad credentials"}
	case held == nil:
		return notFound
	case a.admin != "":
		if a.admin == p && (n.admin && !a.remove || n.remove && a.remove) {
			return nil
		}
		return notFound
	case a.classic != nil:
		scope := map[string]string{"repos": "repo", "orgs": "admin:org", "enterprises": "manage_runners:enterprise"}[p.kind()]
		if slices.Contains(a.classic, scope) || public && n.permission == "metadata" {
			return nil
		}
		refused := problem{status: http.StatusForbidden, message: "Must have admin rights to Repository.", acceptedScopes: scope}
		switch {
		case p.kind() == "repos" && !public:
			refused.status, refused.message = http.StatusNotFound, "Not Found"
		case p.kind() != "repos":
			refused.message = "You must be an admin or have the runners and runner groups fine-grained permission."
		}
		return &refused
	case a.job != nil || a.runner != nil:
		return &problem{status: http.StatusUnauthorized, message: "Bad credentials"}
	}
	permission := n.permission
	if permission == repoRunners && p.kind() == "orgs" {
		permission = orgRunners
	}
	if p.kind() == "enterprises" || a.owner != p.owner() && !public {
		return notFound
	}
	if have := a.permissions[permission]; have == "write" || have == n.level || a.owner != p.owner() && permission == "metadata" {
		return nil
	}
	refused := &problem{status: http.StatusForbidden, message: "Resource not accessible by personal access token", acceptedPermissions: permission + "=" + n.level}
	if a.integration {
		refused.message = "Resource not accessible by integration"
	}
	return refused
}
