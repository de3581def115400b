package ghsim

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

func (s *Server) registrationToken(c *call) answer { return s.adminToken(c, false) }
func (s *Server) removeToken(c *call) answer       { return s.adminToken(c, true) }

func (s *Server) adminToken(c *call, remove bool) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := &actor{name: "registration token", admin: c.place, remove: remove}
	if remove {
		who.name = "remove token"
	}
	token := s.issue("A", who, time.Hour)
	return answer{status: http.StatusCreated, body: map[string]string{"token": token, "expires_at": who.expires.UTC().Format(time.RFC3339)}}
}

// wanted is a requested registration.
type wanted struct {
	name, workFolder string
	group            int64
	labels           []string
}

// problemWith returns GitHub's reason to refuse a registration, or nil. The caller must hold
// s.mu.
func (s *Server) problemWith(w wanted, p place) *problem {
	unprocessable := func(message string) *problem {
		return &problem{status: http.StatusUnprocessableEntity, message: message}
	}
	switch {
	case w.name == "" || len(w.name) > 64:
		return unprocessable("Invalid name")
	case len(w.labels) == 0 || len(w.labels) > 100:
		return unprocessable("Invalid labels: 1 to 100 are needed")
	case slices.Contains(w.labels, ""):
		return unprocessable("Invalid labels: one is empty")
	case !slices.ContainsFunc(s.places[p].groups, func(g group) bool { return g.ID == w.group }):
		return &problem{status: http.StatusNotFound, message: "Runner group not found"}
	case s.named(p, w.name) != nil:
		return &problem{status: http.StatusConflict, message: fmt.Sprintf("Already exists - A runner with the name %s already exists.", w.name)}
	}
	return nil
}

// register adds a runner. The caller must hold s.mu.
func (s *Server) register(w wanted, p place, ephemeral bool, key *rsa.PublicKey) *runner {
	made := &runner{id: s.id(), name: w.name, place: p, group: w.group, labels: s.newLabels(w.labels), os: "unknown", ephemeral: ephemeral, clientID: uuid.NewString(), key: key}
	s.runners[made.id] = made
	s.announce()
	return made
}

// hasJIT reports whether this version of the Enterprise Server makes JIT configurations.
func (s *Server) hasJIT() bool {
	var major, minor int
	_, err := fmt.Sscanf(s.options.Version, "%d.%d", &major, &minor)
	return err == nil && (major > 3 || major == 3 && minor >= 10)
}

func (s *Server) generateJIT(c *call) answer {
	var asked struct {
		Name       string   `json:"name"`
		Group      *int64   `json:"runner_group_id"`
		Labels     []string `json:"labels"`
		WorkFolder string   `json:"work_folder"`
	}
	if !c.read(&asked) {
		return refusal(&problem{status: http.StatusBadRequest, message: "Problems parsing JSON"})
	}
	if asked.Group == nil {
		return invalid("Invalid request.\n\n\"runner_group_id\" wasn't supplied.")
	}
	if asked.WorkFolder == "" {
		asked.WorkFolder = "_work"
	}
	w := wanted{name: asked.Name, group: *asked.Group, labels: asked.Labels, workFolder: asked.WorkFolder}
	key, err := rsa.GenerateKey(rand.Reader, 2048) // slow, so not under the lock
	if err != nil {
		return refusal(&problem{status: http.StatusInternalServerError, message: "Server Error"})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused := s.problemWith(w, c.place); refused != nil {
		return refusal(refused)
	}
	made := s.register(w, c.place, true, &key.PublicKey)
	return answer{status: http.StatusCreated, body: map[string]any{"runner": made.json(), "encoded_jit_config": s.jit(made, w.workFolder, key)}}
}

// jit returns a runner's JIT configuration: the three files about itself, in one text.
func (s *Server) jit(of *runner, workFolder string, key *rsa.PrivateKey) string {
	group := s.places[of.place].groups[slices.IndexFunc(s.places[of.place].groups, func(g group) bool { return g.ID == of.group })]
	number := func(n *big.Int) string { return base64.StdEncoding.EncodeToString(n.Bytes()) }
	files := map[string]any{
		".runner": map[string]string{
			"AgentId": fmt.Sprint(of.id), "AgentName": of.name, "PoolId": fmt.Sprint(of.group), "PoolName": group.Name,
			"ServerUrlV2": s.brokerURL(), "UseV2Flow": "True", "Ephemeral": "True", "DisableUpdate": "True",
			"WorkFolder": workFolder, "GitHubUrl": s.URL + "/" + of.place.target(),
		},
		".credentials": map[string]any{"Scheme": "OAuth", "Data": map[string]string{
			"ClientId": of.clientID, "AuthorizationUrl": s.authorizationURL(), "RequireFipsCryptography": "True",
		}},
		".credentials_rsaparams": map[string]string{
			"d": number(key.D), "dp": number(key.Precomputed.Dp), "dq": number(key.Precomputed.Dq), "exponent": number(big.NewInt(int64(key.E))),
			"inverseQ": number(key.Precomputed.Qinv), "modulus": number(key.N), "p": number(key.Primes[0]), "q": number(key.Primes[1]),
		},
	}
	if s.options.JITMayUpdate {
		delete(files[".runner"].(map[string]string), "DisableUpdate")
	}
	encoded := map[string][]byte{} // encoding/json writes these in base64
	for name, content := range files {
		encoded[name], _ = json.Marshal(content) // can't fail: maps of strings
	}
	whole, _ := json.Marshal(encoded)
	return base64.StdEncoding.EncodeToString(whole)
}

// runnerRegistration answers a runner that is being configured with a registration or remove
// token, and names the server for its next requests.
func (s *Server) runnerRegistration(r *http.Request) answer {
	var asked struct {
		URL   string `json:"url"`
		Event string `json:"runner_event"`
	}
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&asked)
	p, known := placeOfURL(asked.URL)
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.who(r)
	if who == nil || who.admin == "" {
		return refusal(&problem{status: http.StatusUnauthorized, message: "Bad credentials"})
	}
	recordOf(r).Who = who.name
	if err != nil || !known || p != who.admin || who.remove != (asked.Event == "remove") {
		return refusal(notFound)
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return answer{status: http.StatusOK, body: map[string]any{
		"url": s.brokerAt(r), "token_schema": "OAuthAccessToken", "token": token,
		"use_v2_flow": true, "use_runner_admin_flow": true,
	}}
}

// registerRunner is the alternative to JIT: the runner makes its key itself.
func (s *Server) registerRunner(r *http.Request) answer {
	var asked struct {
		URL       string                        `json:"url"`
		Group     int64                         `json:"group_id"`
		Name      string                        `json:"name"`
		Version   string                        `json:"version"`
		Ephemeral bool                          `json:"ephemeral"`
		Labels    []struct{ Name, Type string } `json:"labels"`
		PublicKey string                        `json:"public_key"`
		Replace   bool                          `json:"replace"`
		ID        int64                         `json:"runner_id"`
	}
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&asked)
	key, keyErr := publicKey(asked.PublicKey)
	p, known := placeOfURL(asked.URL)
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.who(r)
	if who == nil || who.admin == "" || who.remove {
		return refusal(&problem{status: http.StatusUnauthorized, message: "Bad credentials"})
	}
	recordOf(r).Who = who.name
	switch {
	case err != nil || keyErr != nil:
		return invalid("Invalid request")
	case !known || p != who.admin:
		return refusal(notFound)
	case s.tooOld(asked.Version): // GitHub's own words are not known; its runner exits with code 1 on any
		return refusal(&problem{status: http.StatusForbidden, message: "Runner version v" + asked.Version + " is deprecated and cannot be registered."})
	}
	want := wanted{name: asked.Name, group: asked.Group}
	for _, label := range asked.Labels {
		want.labels = append(want.labels, label.Name)
	}
	if old := s.named(p, asked.Name); old != nil && asked.Replace && asked.ID == old.id && !old.busy() {
		s.forget(old)
	}
	if refused := s.problemWith(want, p); refused != nil {
		return refusal(refused)
	}
	made := s.register(want, p, asked.Ephemeral, key)
	made.version = asked.Version
	return answer{status: http.StatusCreated, body: map[string]any{
		"id": made.id, "name": made.name,
		"authorization": map[string]string{"authorization_url": s.authorizationURL(), "server_url": s.brokerAt(r), "client_id": made.clientID},
	}}
}

// brokerAt returns the broker's address for a runner that registers itself. It is on the host
// that the runner knows, which GitHub's runner demands of an Enterprise Server
// (Runner.Listener/Configuration/ConfigurationManager.cs:169-179). It is the same for both
// protocols, because the runner would speak the older one to a different address
// (BrokerMessageListener.cs:123-129).
func (s *Server) brokerAt(r *http.Request) string { return s.base(r) + "/broker/" }

// publicKey parses an RSA key in .NET's XML form.
func publicKey(text string) (*rsa.PublicKey, error) {
	var parts struct {
		XMLName  xml.Name `xml:"RSAKeyValue"`
		Modulus  string
		Exponent string
	}
	if err := xml.Unmarshal([]byte(text), &parts); err != nil {
		return nil, err
	}
	modulus, err := base64.StdEncoding.DecodeString(parts.Modulus)
	if err != nil {
		return nil, err
	}
	exponent, err := base64.StdEncoding.DecodeString(parts.Exponent)
	if err != nil {
		return nil, err
	}
	if len(modulus) < 128 {
		return nil, fmt.Errorf("a key of %d bits", 8*len(modulus))
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}, nil
}
