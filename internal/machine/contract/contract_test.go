package contract

import (
	"reflect"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/machine"
)

func read(env map[string]string) (machine.Agent, string, error) {
	return Read(func(name string) string { return env[name] }, func(random bool) string {
		if random {
			return "random"
		}
		return "hostname"
	})
}

func with(pairs ...string) map[string]string {
	env := map[string]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return env
}

const (
	repo  = "REPO_URL=https://github.com/acme/api"
	token = "RUNNER_TOKEN=registration-8910" //nolint:gosec // of this test
)

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		env        map[string]string
		want       machine.Agent
		credential string
	}{
		"a repository": {with(repo, token),
			machine.Agent{Mode: machine.Token, URL: "https://github.com/acme/api", API: "https://api.github.com/repos/acme/api", Name: "github-runner-random"}, "registration-8910"},
		"its address for git": {with("REPO_URL=https://github.com/acme/api.git/", token),
			machine.Agent{Mode: machine.Token, URL: "https://github.com/acme/api", API: "https://api.github.com/repos/acme/api", Name: "github-runner-random"}, "registration-8910"},
		"an organization of ghe.com": {with("RUNNER_SCOPE=org", "ORG_NAME=acme", "GITHUB_HOST=octo.ghe.com", "ACCESS_TOKEN=ghp_x", "RUNNER_NAME=mine"),
			machine.Agent{Mode: machine.AccessToken, URL: "https://octo.ghe.com/acme", API: "https://api.octo.ghe.com/orgs/acme", Name: "mine"}, "ghp_x"},
		"an enterprise of a server, by an App": {with("RUNNER_SCOPE=enterprise", "ENTERPRISE_NAME=acme", "GITHUB_HOST=ghes.example.com:8443", "APP_ID=42", "APP_PRIVATE_KEY=a\nb", "APP_LOGIN=Owner"),
			machine.Agent{Mode: machine.App, URL: "https://ghes.example.com:8443/enterprises/acme", API: "https://ghes.example.com:8443/api/v3/enterprises/acme", Name: "github-runner-random"}, "42 Owner YQpi"},
		"all choices": {with(repo, token, "RUNNER_NAME_PREFIX=image", "RANDOM_RUNNER_SUFFIX=0", "LABELS=gpu,large", "RUNNER_GROUP=builders", "RUNNER_WORKDIR=/work", "EPHEMERAL=1", "NO_DEFAULT_LABELS=true",
			"DISABLE_AUTO_UPDATE=1", "DISABLE_AUTOMATIC_DEREGISTRATION=true"),
			machine.Agent{Mode: machine.Token, URL: "https://github.com/acme/api", API: "https://api.github.com/repos/acme/api", Name: "image-hostname", Labels: []string{"gpu", "large"}, Group: "builders", Work: "/work", Ephemeral: true, NoGitHubLabels: true}, "registration-8910"},
		"a JIT configuration": {with(EnvJIT + "=eyIucnVubmVyIjoiIn0="), machine.Agent{Mode: machine.JIT, Ephemeral: true}, "eyIucnVubmVyIjoiIn0="},
	} {
		got, credential, err := read(test.env)
		if err != nil || !reflect.DeepEqual(got, test.want) || credential != test.credential {
			t.Errorf("%s: got %+v, %q, %v, want %+v, %q", name, got, credential, err, test.want, test.credential)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"a credential is required":                                         with(repo),
		"more than one credential: " + EnvJIT + " and RUNNER_TOKEN":        with(token, EnvJIT+"=eyI="),
		EnvJIT + " has more than one line":                                 with(EnvJIT + "=a\nb8910"),
		"more than one credential: ACCESS_TOKEN, RUNNER_TOKEN":             with(repo, token, "ACCESS_TOKEN=ghp_8910"),
		"APP_ID and APP_PRIVATE_KEY must be set together":                  with(repo, "APP_ID=1"),
		"APP_ID=one: expected a number":                                    with(repo, "APP_ID=one", "APP_PRIVATE_KEY=x"),
		"RUNNER_SCOPE=repo needs REPO_URL":                                 with(token),
		"REPO_URL=acme/api: expected https://HOST/OWNER/REPO":              with(token, "REPO_URL=acme/api"),
		"REPO_URL=https://github.com/acme/: expected":                      with(token, "REPO_URL=https://github.com/acme/"),
		"REPO_URL=https://github.com/a/b/c: expected":                      with(token, "REPO_URL=https://github.com/a/b/c"),
		"https://github.com/acme/a b: not an address of GitHub":            with(token, "REPO_URL=https://github.com/acme/a b"),
		"REPO_URL is on github.com, GITHUB_HOST is ghes.example.com":       with(repo, token, "GITHUB_HOST=ghes.example.com"),
		"GITHUB_HOST=a/b: expected a host's name":                          with(token, "RUNNER_SCOPE=org", "ORG_NAME=acme", "GITHUB_HOST=a/b"),
		"RUNNER_SCOPE=galaxy: expected repo, org or enterprise":            with(repo, token, "RUNNER_SCOPE=galaxy"),
		"RUNNER_SCOPE=org needs ORG_NAME":                                  with(repo, token, "RUNNER_SCOPE=org"),
		"RUNNER_SCOPE=enterprise needs ENTERPRISE_NAME":                    with(repo, token, "RUNNER_SCOPE=enterprise"),
		"EPHEMERAL=maybe: expected true or false":                          with(repo, token, "EPHEMERAL=maybe"),
		"DISABLE_AUTO_UPDATE=false: this agent never":                      with(repo, token, "DISABLE_AUTO_UPDATE=false"),
		"DISABLE_AUTOMATIC_DEREGISTRATION=0: a runner can't remove itself": with(repo, token, "DISABLE_AUTOMATIC_DEREGISTRATION=0"),
		"LABELS has more than one line":                                    with(repo, token, "LABELS=a\nb"),
		"the credential has more than one line":                            with(repo, "ACCESS_TOKEN=a\nb"),
		"APP_LOGIN=a b: expected a user's":                                 with(repo, "APP_ID=1", "APP_PRIVATE_KEY=x", "APP_LOGIN=a b"),
	} {
		got, credential, err := read(env)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "8910") || credential != "" || got.URL != "" {
			t.Errorf("%v: got %+v, %q, %v, want %q", env, got, credential, err, want)
		}
	}
}

func TestGiven(t *testing.T) {
	for name, want := range map[string]bool{"REPO_URL": true, EnvJIT: true, "APP_PRIVATE_KEY": true, "APP_LOGIN": false, "LABELS": false, "PATH": false} {
		if got := Given(func(asked string) string {
			if asked == name {
				return "x"
			}
			return ""
		}); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}
