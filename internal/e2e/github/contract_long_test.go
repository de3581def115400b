//go:build linux && long

package github

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// With a GitHub Enterprise Server whose certificate the runner's machine trusts, an access
// token and an App are both exchanged for a registration token inside the container.
func TestEnvironmentContractAsksGitHub(t *testing.T) {
	server := newTokenServer(t)
	f := e2e.NewAgentFleet(t, server.trusted)
	t.Cleanup(func() { e2e.RemoveImage(t, f.API, f.Spec.Image) })
	for name, test := range map[string]struct {
		env  []string
		code int
		want string
	}{
		"token":        {[]string{"REPO_URL=https://" + server.host + "/acme/api.git", "ACCESS_TOKEN=ghp_good"}, 0, "agent: configured with --unattended --url https://" + server.host + "/acme/api --name"},
		"app":          {[]string{"RUNNER_SCOPE=org", "ORG_NAME=acme", "GITHUB_HOST=" + server.host, "APP_ID=42", "APP_PRIVATE_KEY=" + server.key}, 0, "agent: configured with --unattended --url https://" + server.host + "/acme --name"},
		"wrong token":  {[]string{"REPO_URL=https://" + server.host + "/acme/api", "ACCESS_TOKEN=ghp_bad"}, 78, "agent: POST https://" + server.host + "/api/v3/repos/acme/api/actions/runners/registration-token: GitHub answered 401: Bad credentials"},
		"a bad moment": {[]string{"REPO_URL=https://" + server.host + "/acme/flaky", "ACCESS_TOKEN=ghp_good"}, 0, "agent: configured with --unattended --url https://" + server.host + "/acme/flaky --name"},
		"wrong login":  {[]string{"REPO_URL=https://" + server.host + "/acme/api", "APP_ID=42", "APP_PRIVATE_KEY=" + server.key, "APP_LOGIN=other"}, 78, "agent: the App 42 is not installed for other"},
		"broken key":   {[]string{"REPO_URL=https://" + server.host + "/acme/api", "APP_ID=42", "APP_PRIVATE_KEY=x"}, 78, "agent: APP_PRIVATE_KEY is not a private key in PEM"},
		"nobody there": {[]string{"REPO_URL=https://127.0.0.1:1/acme/api", "ACCESS_TOKEN=ghp_good"}, 78, "no answer"},
	} {
		config, host := alone(f.Spec.Image, append(test.env, "EPHEMERAL=true")...)
		id := e2e.StartAlone(t, f.API, config, host)
		if test.code == 0 {
			listens(t, f.API, id, 1)
			if err := f.API.ContainerStop(t.Context(), id, container.StopOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if code, log := e2e.AwaitEnd(t, f.API, id), e2e.ContainerLog(t, f.API, id); code != test.code || !strings.Contains(log, test.want) || strings.Contains(log, "ghp_") {
			t.Errorf("%s: code %d, want %d and %q:\n%s", name, code, test.code, test.want, log)
		}
	}
}
