package ghsim

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/uuid"
)

// jobToken returns a JSON web token. GitHub's listener reads the orchestration from it
// (Runner.Listener/JobDispatcher.cs:106-123), and actions read the ids of run and job from its
// scope (actions/toolkit, packages/artifact/src/internal/shared/util.ts). The caller must hold
// s.mu.
func (s *Server) jobToken(j *job) string {
	now := s.now()
	return sign(jwt.MapClaims{
		"iss": s.issuer(), "sub": "job", "jti": uuid.NewString(), "orch_id": j.orchestration(), "repository_id": repositoryID(j.spec.Repository),
		"scp": fmt.Sprintf("Actions.GenericRead:%[1]s Actions.Results:%[2]s:%[3]s Actions.UploadArtifacts:%[2]s/1:%[2]s", uuid.Nil, j.planID, j.uuid),
		"ac":  j.spec.access(),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(j.spec.timeout() + time.Hour).Unix(),
	})
}

// JobToken returns the token that a job of a repository and a reference would get, for a client
// that runs outside of a runner.
func (s *Server) JobToken(repository, ref string) string {
	return s.jobToken(&job{spec: Job{Repository: repository, Ref: ref}, planID: uuid.NewString(), uuid: uuid.NewString()})
}

// jobsKey signs the tokens of jobs. One for all stand-ins saves the time to make it.
var jobsKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // can't fail (crypto/rand)
	}
	return key
})

const keyID = "stand-in"

// sign returns a token that the issuer's published key verifies.
func sign(claims jwt.MapClaims) string {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = keyID
	signed, err := token.SignedString(jobsKey())
	if err != nil {
		panic(err) // can't fail: the key is RSA's
	}
	return signed
}

// issuer is that of GitHub Enterprise Server: a part of the server.
func (s *Server) issuer() string { return s.URL + "/_services/token" }

// keys publishes the issuer's keys.
func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: jobsKey().Public(), KeyID: keyID, Algorithm: string(jose.RS256), Use: "sig"}}})
}

// repositoryID is a repository's number, which no other has.
func repositoryID(name string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name)) // never fails
	return strconv.FormatUint(uint64(sum.Sum32()), 10)
}

// access has the job's rights to caches: read and write those of its own reference, and read
// main's.
func (j Job) access() string {
	type scope struct {
		Scope      string
		Permission int
	}
	all := []scope{{cmp.Or(j.Ref, mainRef), 3}}
	if all[0].Scope != mainRef {
		all = append(all, scope{mainRef, 1})
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // can't fail
	}
	return string(text)
}

const mainRef = "refs/heads/main"

// key returns the key of a job in its workflow.
func (j *job) key() string { return cmp.Or(j.spec.Key, j.spec.Name) }

func (j *job) orchestration() string { return j.planID + "." + j.key() + ".__default" }

// jobEndpoints returns the addresses of services for a job's message. The live log's address
// is that of a web socket, because GitHub's worker accepts no other
// (Runner.Common/ResultsServer.cs:206).
func (s *Server) jobEndpoints(j *job) map[string]string {
	given := map[string]string{
		"FeedStreamUrl": "ws" + strings.TrimPrefix(s.RunnerURL, "http") + "/feed", "ResultsServiceUrl": s.resultsURL(), "PipelinesServiceUrl": s.RunnerURL + "/",
		"CacheServerUrl": s.RunnerURL + "/",
	}
	if j.spec.Permissions["id-token"] == "write" {
		given["GenerateIdTokenUrl"] = s.RunnerURL + "/idtoken/" + j.uuid + "?api-version=2.0"
	}
	return given
}

// idToken returns the identity of a job for other services (OpenID Connect). Actions request
// it for an audience, with the job's token (actions/toolkit, packages/core/src/oidc-utils.ts).
func (s *Server) idToken(w http.ResponseWriter, r *http.Request, j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.PathValue("job") != j.uuid || j.status != running || j.spec.Permissions["id-token"] != "write" {
		refuse(w, r, http.StatusForbidden, "the identity of another job, or of one without permissions: {id-token: write}")
		return
	}
	audience := r.URL.Query().Get("audience")
	owner, _, _ := strings.Cut(j.spec.Repository, "/")
	if audience == "" {
		audience = s.URL + "/" + owner
	}
	now := s.now()
	signed := sign(jwt.MapClaims{
		"iss": s.issuer(), "aud": audience, "sub": "repo:" + j.spec.Repository + ":ref:refs/heads/main", "jti": uuid.NewString(),
		"repository": j.spec.Repository, "repository_owner": owner, "ref": "refs/heads/main", "event_name": "workflow_dispatch", "runner_environment": "self-hosted",
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	})
	writeJSON(w, http.StatusOK, map[string]string{"value": signed})
}

// resolveActions answers where to download actions of other repositories. This stand-in has
// none, and reports that for each action (Sdk/WebApi/WebApi/LaunchHttpClient.cs:40-79).
// Runners do not ask for local actions.
func (s *Server) resolveActions(w http.ResponseWriter, r *http.Request, j *job) {
	var asked actionReferences
	if !body(w, r, &asked) {
		return
	}
	if r.PathValue("plan") != j.planID || r.PathValue("job") != j.uuid {
		refuse(w, r, http.StatusForbidden, "another job's actions")
		return
	}
	errors := map[string]any{}
	for _, each := range asked.Actions {
		name := each.Action + "@" + each.Version
		errors[name] = map[string]string{"message": "Unable to resolve action `" + name + "`: this stand-in has no repositories, use a local action (uses: ./FOLDER)"}
	}
	if len(errors) == 0 {
		writeJSON(w, http.StatusOK, map[string]any{"actions": map[string]any{}})
		return
	}
	writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"errors": errors})
}

// legacyCache answers for the former cache service, in GitHub's words.
func (s *Server) legacyCache(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"message": "This legacy service is shutting down, effective April 15, 2025. Migrate to the new service ASAP."})
}
