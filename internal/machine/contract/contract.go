// Package contract reads the environment variables of other runner images, for a container
// without runnerctl (docs/image.md). It is strict: an unknown value is an error, since a value
// that was misunderstood registers the wrong runner. It imports only the machine's settings.
package contract

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/internal/machine"
)

// EnvJIT holds a JIT configuration, of which the agent knows everything. GitHub's Actions Runner
// Controller sets it in the runner's container (github.com/actions/actions-runner-controller).
const EnvJIT = "ACTIONS_RUNNER_INPUT_JITCONFIG"

// Variables are those that only the container's first process may see.
var Variables = []string{EnvJIT, "ACCESS_TOKEN", "RUNNER_TOKEN", "APP_ID", "APP_PRIVATE_KEY", "APP_LOGIN", "RUNNER_SCOPE", "REPO_URL", "ORG_NAME", "ENTERPRISE_NAME"}

// Given reports whether the environment has variables of the contract. APP_LOGIN alone is none.
func Given(lookup func(string) string) bool {
	for _, name := range Variables {
		if name != "APP_LOGIN" && lookup(name) != "" {
			return true
		}
	}
	return false
}

// Read returns the agent's settings and its credential, a line. The suffix is for a name that
// the environment does not give in full.
func Read(lookup func(string) string, suffix func(random bool) string) (agent machine.Agent, credential string, err error) {
	r := reader{lookup: lookup}
	if line := r.line(EnvJIT); line != "" || r.err != nil {
		for _, name := range []string{"ACCESS_TOKEN", "RUNNER_TOKEN", "APP_ID", "APP_PRIVATE_KEY"} {
			if lookup(name) != "" {
				r.fail("more than one credential: %s and %s", EnvJIT, name)
			}
		}
		if r.err != nil {
			return machine.Agent{}, "", r.err
		}
		return machine.Agent{Mode: machine.JIT, Ephemeral: true}, line, nil
	}
	target := r.target()
	agent.Mode, credential = r.credential(target.owner)
	agent.URL, agent.API = target.url, target.api
	agent.Ephemeral = r.flag("EPHEMERAL", false)
	agent.NoGitHubLabels = r.flag("NO_DEFAULT_LABELS", false)
	random := r.flag("RANDOM_RUNNER_SUFFIX", true)
	if !r.flag("DISABLE_AUTO_UPDATE", true) {
		r.fail("DISABLE_AUTO_UPDATE=%s: this agent never updates itself, the image is updated instead", lookup("DISABLE_AUTO_UPDATE"))
	}
	if !r.flag("DISABLE_AUTOMATIC_DEREGISTRATION", true) {
		r.fail("DISABLE_AUTOMATIC_DEREGISTRATION=%s: a runner can't remove itself, because the credential would have to stay in the job's machine; with EPHEMERAL=true, GitHub removes it", lookup("DISABLE_AUTOMATIC_DEREGISTRATION"))
	}
	agent.Name = r.line("RUNNER_NAME")
	if agent.Name == "" && r.err == nil {
		agent.Name = or(r.line("RUNNER_NAME_PREFIX"), "github-runner") + "-" + suffix(random)
	}
	if labels := r.line("LABELS"); labels != "" {
		agent.Labels = strings.Split(labels, ",")
	}
	agent.Group, agent.Work = r.line("RUNNER_GROUP"), r.line("RUNNER_WORKDIR")
	if r.err != nil {
		return machine.Agent{}, "", r.err
	}
	return agent, credential, nil
}

// reader keeps the first error.
type reader struct {
	lookup func(string) string
	err    error
}

func (r *reader) fail(format string, values ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, values...)
	}
}

func or(value, preset string) string {
	if value == "" {
		return preset
	}
	return value
}

func (r *reader) flag(name string, preset bool) bool {
	switch value := r.lookup(name); value {
	case "":
		return preset
	case "true", "1":
		return true
	case "false", "0":
		return false
	default:
		r.fail("%s=%s: expected true or false", name, value)
		return preset
	}
}

// line returns a value for a job or GitHub, which must not contain a line break.
func (r *reader) line(name string) string {
	value := r.lookup(name)
	if strings.Contains(value, "\n") {
		r.fail("%s has more than one line", name)
	}
	return value
}

// target is where jobs come from.
type target struct{ url, api, owner string }

var (
	pathPattern  = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)
	hostPattern  = regexp.MustCompile(`^[A-Za-z0-9.:-]+$`)
	loginPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

func (r *reader) target() target {
	var found target
	var path string
	host := r.lookup("GITHUB_HOST")
	switch scope := or(r.lookup("RUNNER_SCOPE"), "repo"); scope {
	case "repo":
		address := r.lookup("REPO_URL")
		if address == "" {
			r.fail("RUNNER_SCOPE=repo needs REPO_URL, like https://github.com/OWNER/REPO")
			return found
		}
		found.url = strings.TrimSuffix(strings.TrimSuffix(address, "/"), ".git")
		rest, https := strings.CutPrefix(found.url, "https://")
		parts := strings.Split(rest, "/")
		if !https || len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			r.fail("REPO_URL=%s: expected https://HOST/OWNER/REPO", address)
			return found
		}
		if host = or(host, parts[0]); host != parts[0] {
			r.fail("REPO_URL is on %s, GITHUB_HOST is %s", parts[0], host)
		}
		found.owner, path = parts[1], "repos/"+parts[1]+"/"+parts[2]
	case "org":
		if found.owner = r.lookup("ORG_NAME"); found.owner == "" {
			r.fail("RUNNER_SCOPE=org needs ORG_NAME")
			return found
		}
		host = or(host, "github.com")
		found.url, path = "https://"+host+"/"+found.owner, "orgs/"+found.owner
	case "enterprise":
		if found.owner = r.lookup("ENTERPRISE_NAME"); found.owner == "" {
			r.fail("RUNNER_SCOPE=enterprise needs ENTERPRISE_NAME")
			return found
		}
		host = or(host, "github.com")
		found.url, path = "https://"+host+"/enterprises/"+found.owner, "enterprises/"+found.owner
	default:
		r.fail("RUNNER_SCOPE=%s: expected repo, org or enterprise", scope)
		return found
	}
	if !hostPattern.MatchString(host) {
		r.fail("GITHUB_HOST=%s: expected a host's name", host)
	}
	if !pathPattern.MatchString(path) {
		r.fail("%s: not an address of GitHub", found.url)
	}
	found.api = apiOf(host) + "/" + path
	return found
}

// apiOf returns the address of a GitHub's API.
func apiOf(host string) string {
	switch {
	case host == "github.com":
		return "https://api.github.com"
	case strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host
	}
	return "https://" + host + "/api/v3"
}

func (r *reader) credential(owner string) (machine.AgentMode, string) {
	access, token := r.lookup("ACCESS_TOKEN"), r.lookup("RUNNER_TOKEN")
	id, key := r.lookup("APP_ID"), r.lookup("APP_PRIVATE_KEY")
	given := 0
	for _, one := range []bool{access != "", token != "", id != "" || key != ""} {
		if one {
			given++
		}
	}
	switch {
	case given == 0:
		r.fail("a credential is required: ACCESS_TOKEN, RUNNER_TOKEN, or APP_ID with APP_PRIVATE_KEY")
	case given > 1:
		r.fail("more than one credential: ACCESS_TOKEN, RUNNER_TOKEN, or APP_ID with APP_PRIVATE_KEY")
	case access != "":
		if strings.Contains(access, "\n") {
			r.fail("the credential has more than one line")
		}
		return machine.AccessToken, access
	case token != "":
		if strings.Contains(token, "\n") {
			r.fail("the credential has more than one line")
		}
		return machine.Token, token
	case id == "" || key == "":
		r.fail("APP_ID and APP_PRIVATE_KEY must be set together")
	default:
		if _, err := strconv.ParseUint(id, 10, 64); err != nil {
			r.fail("APP_ID=%s: expected a number", id)
		}
		login := or(r.lookup("APP_LOGIN"), owner)
		if !loginPattern.MatchString(login) {
			r.fail("APP_LOGIN=%s: expected a user's or an organization's name", login)
		}
		return machine.App, id + " " + login + " " + base64.StdEncoding.EncodeToString([]byte(key))
	}
	return "", ""
}
