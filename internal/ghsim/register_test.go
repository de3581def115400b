package ghsim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// An agent that registers itself sends the same requests as GitHub's runner, and an outdated
// agent is refused (actions/runner, src/Runner.Common/RunnerDotcomServer.cs:83-103).
func TestRegistrationByAgent(t *testing.T) {
	s := start(t, ghsim.Options{})
	key := "<RSAKeyValue><Modulus>" + strings.Repeat("u", 342) + "==</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"
	var made struct{ Token string }
	api := client(t, s, s.ClassicToken(time.Hour, "repo"))
	api.do("POST", "/repos/acme/api/actions/runners/registration-token", nil, 201, &made)
	agent := client(t, s, made.Token)
	for version, status := range map[string]int{ghsim.AgentVersion: 201, "2.329.1": 201, "2.300.0": 403, "2.300.0-old": 403} {
		body := map[string]any{
			"url": s.URL + "/acme/api", "group_id": 1, "name": "one-" + version, "version": version, "updates_disabled": true, "ephemeral": false,
			"labels": []map[string]any{{"id": 0, "name": "self-hosted", "type": "system"}, {"id": 0, "name": "GPU", "type": "user"}}, "public_key": key,
		}
		var answer struct {
			ID            int64
			Authorization struct {
				Server string `json:"server_url"`
			}
		}
		into := any(&answer)
		if status != 201 {
			into = nil
		}
		agent.do("POST", "/actions/runners/register", body, status, into)
		if status == 201 && answer.Authorization.Server != s.URL+"/broker/" {
			t.Errorf("the broker is at %s, want %s", answer.Authorization.Server, s.URL+"/broker/")
		}
	}
	for _, one := range s.Runners() {
		if !strings.Contains(strings.Join(one.Labels, " "), "gpu") {
			t.Errorf("got %+v, want the label gpu", one)
		}
	}
	// Where the listener goes on is one address for both protocols.
	var tenant struct {
		URL   string
		V2    bool `json:"use_v2_flow"`
		Admin bool `json:"use_runner_admin_flow"`
	}
	agent.do("POST", "/actions/runner-registration", map[string]string{"url": s.URL + "/acme/api", "runner_event": "register"}, 200, &tenant)
	if tenant.URL != s.URL+"/broker/" || !tenant.V2 || !tenant.Admin {
		t.Errorf("got %+v, want %s, V2 and an admin", tenant, s.URL+"/broker/")
	}
}
