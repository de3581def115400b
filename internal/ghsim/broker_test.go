package ghsim_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/uuid"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// listener is a runner by hand: one request after the other.
type listener struct {
	t        *testing.T
	id       int64
	name     string
	broker   string
	oauth    string
	clientID string
	key      *rsa.PrivateKey
	token    string
	session  string
}

func newListener(t *testing.T, m minted) *listener {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(m.Encoded)
	if err != nil {
		t.Fatal(err)
	}
	var files map[string][]byte
	var runner struct{ ServerUrlV2 string } //nolint:revive // as GitHub spells it
	var credentials struct {
		Data struct{ ClientId, AuthorizationUrl string } //nolint:revive // as GitHub spells it
	}
	var key map[string][]byte
	for _, step := range []struct {
		from []byte
		name string
		into any
	}{{decoded, "", &files}, {nil, ".runner", &runner}, {nil, ".credentials", &credentials}, {nil, ".credentials_rsaparams", &key}} {
		if step.name != "" {
			step.from = files[step.name]
		}
		if err := json.Unmarshal(step.from, step.into); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	number := func(name string) *big.Int { return new(big.Int).SetBytes(key[name]) }
	private := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number("modulus"), E: int(number("exponent").Int64())}, D: number("d"), Primes: []*big.Int{number("p"), number("q")}}
	private.Precompute()
	if err := private.Validate(); err != nil {
		t.Fatal(err)
	}
	return &listener{t: t, id: m.Runner.ID, name: m.Runner.Name, broker: runner.ServerUrlV2, oauth: credentials.Data.AuthorizationUrl, clientID: credentials.Data.ClientId, key: private}
}

func (l *listener) claims() jwt.RegisteredClaims {
	now := time.Now().Add(-time.Second)
	return jwt.RegisteredClaims{
		Issuer: l.clientID, Subject: l.clientID, Audience: jwt.ClaimStrings{l.oauth}, ID: uuid.NewString(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(5 * time.Minute)),
	}
}

func (l *listener) assertion(method jwt.SigningMethod, key *rsa.PrivateKey, claims jwt.RegisteredClaims) string {
	l.t.Helper()
	signed, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

// exchange requests a token and returns the answer's status and message.
func (l *listener) exchange(assertion string) (int, string) {
	l.t.Helper()
	response, err := http.PostForm(l.oauth, url.Values{
		"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	var reply struct {
		Token       string `json:"access_token"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(response.Body).Decode(&reply); err != nil {
		l.t.Fatal(err)
	}
	if reply.Token != "" {
		l.token = reply.Token
	}
	return response.StatusCode, reply.Description
}

func (l *listener) connect() *listener {
	l.t.Helper()
	if status, said := l.exchange(l.assertion(jwt.SigningMethodPS256, l.key, l.claims())); status != 200 {
		l.t.Fatalf("%d %s, want 200", status, said)
	}
	var reply struct{ SessionID string }
	l.call(l.token, exchange{"POST", l.broker + "session", l.agent(), 200, &reply})
	l.session = reply.SessionID
	return l
}

func (l *listener) agent() map[string]any {
	return map[string]any{
		"sessionId": uuid.Nil, "ownerName": "test", "useFipsEncryption": false,
		"agent": map[string]any{"id": l.id, "name": l.name, "version": "2.330.0", "osDescription": "Linux", "ephemeral": nil, "status": 0, "provisioningState": nil},
	}
}

// query returns the query of each call of the broker, except the session's.
func (l *listener) query(session, status string) string {
	return "?status=" + status + "&runnerVersion=2.330.0&os=Linux&architecture=X64&sessionId=" + session
}

func (l *listener) message(session, status string) string {
	return l.broker + "message" + l.query(session, status) + "&disableUpdate=true"
}

// exchange is a request with the expected status, and the target of its answer.
type exchange struct {
	method, address string
	body            any
	status          int
	into            any
}

func (l *listener) call(token string, of exchange) {
	l.t.Helper()
	encoded, err := json.Marshal(of.body)
	if err != nil {
		l.t.Fatal(err)
	}
	request, err := http.NewRequest(of.method, of.address, bytes.NewReader(encoded))
	if err != nil {
		l.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if strings.Contains(of.address, "/blobs/") {
		request.Header.Set("x-ms-blob-type", "AppendBlob")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	if response.StatusCode != of.status {
		l.t.Fatalf("%s %s: %s, want %d: %s", of.method, of.address, response.Status, of.status, content)
	}
	if of.into != nil {
		if err := json.Unmarshal(content, of.into); err != nil {
			l.t.Fatalf("%s %s: %v: %s", of.method, of.address, err, content)
		}
	}
}

type ref struct {
	Request string `json:"runner_request_id"`
	Service string `json:"run_service_url"`
}

// poll wants a job, or with status 202 none.
func (l *listener) poll(status int) ref {
	l.t.Helper()
	var message struct{ MessageType, Body string }
	var into any
	if status == 200 {
		into = &message
	}
	l.call(l.token, exchange{"GET", l.message(l.session, "Online"), nil, status, into})
	var found ref
	if status == 200 {
		if err := json.Unmarshal([]byte(message.Body), &found); err != nil || message.MessageType != "RunnerJobRequest" {
			l.t.Fatalf("got %+v, %v, want a RunnerJobRequest", message, err)
		}
	}
	return found
}

func (l *listener) acquire(of ref, status int) (job string, plan string, token string) {
	l.t.Helper()
	var message struct {
		JobID     string
		Plan      struct{ PlanID string }
		Resources struct {
			Endpoints []struct {
				Authorization struct{ Parameters struct{ AccessToken string } }
			}
		}
	}
	l.call(l.token, exchange{"POST", of.Service + "acquirejob", map[string]string{"jobMessageId": of.Request, "runnerOS": "Linux"}, status, &message})
	if status == 200 {
		token = message.Resources.Endpoints[0].Authorization.Parameters.AccessToken
	}
	return message.JobID, message.Plan.PlanID, token
}

const smallJob = "jobs: {build: {runs-on: linux, steps: [{run: 'true'}]}}"

var quick = ghsim.Options{PollTimeout: 100 * time.Millisecond}

func TestAssertions(t *testing.T) {
	s := start(t, quick)
	l := newListener(t, mint(t, s, "orgs/acme", "one", "linux"))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*jwt.RegisteredClaims)) string {
		claims := l.claims()
		change(&claims)
		return l.assertion(jwt.SigningMethodPS256, l.key, claims)
	}
	good := l.assertion(jwt.SigningMethodPS256, l.key, l.claims())
	for _, c := range []struct {
		name, assertion string
		status          int
		says            string
	}{
		{"good", good, 200, ""},
		{"again", good, 400, "used before"},
		{"another key", l.assertion(jwt.SigningMethodPS256, other, l.claims()), 400, "verification error"},
		{"older algorithm", l.assertion(jwt.SigningMethodRS256, l.key, l.claims()), 400, "RS256"},
		{"another audience", changed(func(c *jwt.RegisteredClaims) { c.Audience = jwt.ClaimStrings{"https://elsewhere"} }), 400, "audience"},
		{"another subject", changed(func(c *jwt.RegisteredClaims) { c.Subject = "me" }), 400, "subject"},
		{"expired", changed(func(c *jwt.RegisteredClaims) { c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }), 400, "Current server time"},
		{"unknown registration", changed(func(c *jwt.RegisteredClaims) { c.Issuer = uuid.NewString() }), 400, "was not found"},
		{"nonsense", "a.b.c", 400, "was not found"},
	} {
		if status, says := l.exchange(c.assertion); status != c.status || !strings.Contains(says, c.says) {
			t.Errorf("%s: %d %q, want %d %q", c.name, status, says, c.status, c.says)
		}
	}
	s.SetClockOffset(10 * time.Minute)
	if status, says := l.exchange(l.assertion(jwt.SigningMethodPS256, l.key, l.claims())); status != 400 || !strings.Contains(says, "The bearer token expired on") {
		t.Errorf("a clock that is wrong: %d %q, want 400 %q", status, says, "The bearer token expired on")
	}
}

func TestSessions(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 100 * time.Millisecond, SessionTimeout: 1500 * time.Millisecond})
	one, two := newListener(t, mint(t, s, "orgs/acme", "one", "linux")).connect(), newListener(t, mint(t, s, "orgs/acme", "two", "linux"))
	one.call("", exchange{"GET", one.message(one.session, "Online"), nil, 401, nil})
	one.call(one.token, exchange{"GET", one.message("other", "Online"), nil, 404, nil})
	one.call(one.token, exchange{"POST", one.broker + "session", one.agent(), 409, nil})
	one.call(one.token, exchange{"POST", one.broker + "session", two.agent(), 403, nil})
	one.poll(202)
	if got := s.Runners(); !got[0].Online || got[1].Online {
		t.Errorf("got %+v, want the first online alone", got)
	}
	for deadline := time.Now().Add(5 * time.Second); s.Runners()[0].Online; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a runner that does not poll stays online")
		}
	}
	one.call(one.token, exchange{"GET", one.message(one.session, "Online"), nil, 404, nil})
	one.connect()
	one.call(one.token, exchange{"DELETE", one.broker + "session", nil, 200, nil})
	if s.Runners()[0].Online {
		t.Error("online without a session")
	}
	one.connect()
	client(t, s, s.ClassicToken(0, "admin:org")).do("DELETE", fmt.Sprintf("/orgs/acme/actions/runners/%d", one.id), nil, 204, nil)
	one.call(one.token, exchange{"GET", one.message(one.session, "Online"), nil, 404, nil}) // RunnerNotFound
	one.call(one.token, exchange{"DELETE", one.broker + "session", nil, 401, nil})
}

func TestAssignment(t *testing.T) {
	s := start(t, quick)
	s.AddRepository("other/repo", ghsim.Private)
	one, two := newListener(t, mint(t, s, "repos/acme/api", "one", "linux", "big")).connect(), newListener(t, mint(t, s, "orgs/acme", "two", "linux")).connect()
	elsewhere := newListener(t, mint(t, s, "orgs/other", "three", "linux")).connect()
	wide := queue(t, s, strings.Replace(smallJob, "linux", "[LINUX, big]", 1))
	two.poll(202)
	elsewhere.poll(202)
	message := one.poll(200)
	if again := one.poll(200); again != message {
		t.Errorf("got %+v, want %+v again", again, message)
	}
	one.call(one.token, exchange{"POST", one.broker + "acknowledge" + one.query(one.session, "Online"), map[string]string{"runnerRequestId": "other"}, 404, nil})
	one.call(one.token, exchange{"POST", one.broker + "acknowledge" + one.query(one.session, "Online"), map[string]string{"runnerRequestId": message.Request}, 200, nil})
	one.poll(202)
	two.acquire(message, 409)
	api := client(t, s, s.ClassicToken(0, "repo"))
	path := fmt.Sprintf("/repos/acme/api/actions/runners/%d", one.id)
	api.do("DELETE", path, nil, 422, nil) // it is busy from its assignment on
	job, plan, token := one.acquire(message, 200)
	one.acquire(message, 409)
	api.do("DELETE", path, nil, 422, nil)
	ids := map[string]string{"planId": plan, "jobId": job}
	one.call(one.token, exchange{"POST", message.Service + "renewjob", ids, 401, nil})
	one.call(token, exchange{"POST", message.Service + "renewjob", map[string]string{"planId": plan, "jobId": "other"}, 404, nil})
	one.call(token, exchange{"POST", message.Service + "renewjob", ids, 200, nil})
	var place struct {
		URL string `json:"logs_url"`
	}
	results := s.RunnerURL + "/twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL"
	one.call(token, exchange{"POST", results, map[string]string{"workflow_run_backend_id": plan, "workflow_job_run_backend_id": "other"}, 403, nil})
	one.call(token, exchange{"POST", results, map[string]string{"workflow_run_backend_id": plan, "workflow_job_run_backend_id": job}, 200, &place})
	one.call("", exchange{"PUT", place.URL + "&comp=appendblock", "early", 404, nil})
	one.call("", exchange{"PUT", place.URL, "", 201, nil})
	one.call("", exchange{"PUT", strings.Split(place.URL, "?")[0] + "?sig=guess&comp=appendblock", "", 403, nil})
	one.call("", exchange{"PUT", place.URL + "&comp=appendblock&seal=true", "kept", 201, nil})
	one.call("", exchange{"PUT", place.URL + "&comp=appendblock", "late", 409, nil})
	done := map[string]string{"planId": plan, "jobId": job, "conclusion": "succeeded"}
	one.call(token, exchange{"POST", message.Service + "completejob", done, 200, nil})
	one.call(token, exchange{"POST", message.Service + "completejob", done, 401, nil})
	if r, _ := s.Result(wide); r.Conclusion != "success" || r.Runner != "one" || r.Log != `"kept"` {
		t.Errorf("got %+v, want success on one, with kept as its log", r)
	}
	api.do("DELETE", path, nil, 422, nil) // GitHub has not noticed its end
	for deadline := time.Now().Add(5 * time.Second); len(s.Runners()) == 3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an ephemeral runner stays after its job")
		}
	}
	api.do("GET", path, nil, 404, nil) // ephemeral
	one.call(one.token, exchange{"POST", one.broker + "session", one.agent(), 404, nil})
	if status, says := one.exchange(one.assertion(jwt.SigningMethodPS256, one.key, one.claims())); status != 400 || !strings.Contains(says, "was not found") {
		t.Errorf("%d %s, want 400 %q", status, says, "was not found")
	}
}

func TestJobsWithoutRunner(t *testing.T) {
	s := start(t, ghsim.Options{PollTimeout: 100 * time.Millisecond, AcquireTimeout: 300 * time.Millisecond, JobLock: 300 * time.Millisecond})
	one, two := newListener(t, mint(t, s, "orgs/acme", "one", "linux")).connect(), newListener(t, mint(t, s, "orgs/acme", "two", "linux")).connect()
	id := queue(t, s, smallJob)
	given := one.poll(200)
	two.poll(202)
	for deadline := time.Now().Add(5 * time.Second); s.Runners()[0].Busy; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a job that is not acquired stays assigned")
		}
	}
	again := two.poll(200)
	one.acquire(given, 409)
	two.acquire(again, 200)
	if r := wait(t, s, id); r.Conclusion != "failure" || r.Runner != "two" || len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "lost communication") {
		t.Errorf("a job that is not renewed: %+v, want failure on two, with lost communication", r)
	}
	if got := s.Runners(); len(got) == 0 || got[0].Name != "one" || got[0].Busy {
		t.Errorf("got %+v, want one first, idle", got)
	}
}
