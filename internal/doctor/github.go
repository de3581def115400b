package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var githubChecks = []Check{
	{ID: "github.reachable", Title: "GitHub", Group: "GitHub", Severity: Advice, Needs: NeedsOutside | NeedsGitHub, Run: githubReachable,
		Why: "runners take their jobs from there"},
	{ID: "github.clock", Title: "clock against GitHub's", Group: "GitHub", Severity: Advice, Needs: NeedsOutside | NeedsGitHub, Run: githubClock,
		Why: "an App's token of a wrong clock is refused"},
	{ID: "github.token", Title: "token", Group: "GitHub", Severity: Advice, Needs: NeedsOutside | NeedsGitHub, Run: githubToken,
		Why: "runners are registered with it"},
	{ID: "github.agent", Title: "version of the agent", Group: "GitHub", Severity: Advice, Needs: NeedsOutside | NeedsGitHub, Run: githubAgent,
		Why: "GitHub gives no jobs to agents that are older than 30 days"},
	{ID: "github.proxy", Title: "proxy", Group: "GitHub", Severity: Advice, Needs: NeedsEngine, Run: githubProxy,
		Why: "behind a proxy, runnerctl and the engine both need it: the one for GitHub, the other for images"},
}

// GitHub is what the target's GitHub says; commands/ fills it by ghapi.
type GitHub struct {
	Host   string
	Err    error         // it does not answer
	Skew   time.Duration // of its clock against this one's; positive: it is ahead
	Token  Token
	Agents Agents
}

// Token is how GitHub sees the token.
type Token struct {
	From   string   // where it came from, never the token itself; "" where there is none
	Kind   string   // of the target: repository, organization, enterprise
	Scopes []string // of a classic token; nil where GitHub tells none (fine-grained ones, Apps)
	Err    error    // it is refused
}

// Agents are the releases of GitHub's runner program.
type Agents struct {
	Wanted   string // in the settings; "latest" or a version
	Newest   string
	Released time.Time // when the first release newer than Wanted came out; zero where there is none
	Now      time.Time
}

func githubReachable(f Facts) Outcome {
	if f.GitHub.Err != nil {
		return Outcome{Fail, f.GitHub.Err.Error(), advice("let this machine reach %s on port 443 (HTTPS_PROXY is heeded)", f.GitHub.Host)}
	}
	return pass("%s answers", f.GitHub.Host)
}

func githubClock(f Facts) Outcome {
	if f.GitHub.Err != nil {
		return skip(f.GitHub.Host + " does not answer")
	}
	if skew := f.GitHub.Skew.Abs(); skew > 30*time.Second {
		return Outcome{Warn, fmt.Sprintf("GitHub's clock and this one differ by %s", skew.Round(time.Second)), advice("keep this machine's clock by NTP: timedatectl set-ntp true")}
	}
	return pass("agrees")
}

// The scope of a classic token that registers runners, by kind of target (GitHub's
// REST documentation, "self-hosted runners"); a scope that holds another goes for it.
var neededScope = map[string][]string{
	"repository":   {"repo"},
	"organization": {"admin:org"},
	"enterprise":   {"manage_runners:enterprise", "admin:enterprise"},
}

func githubToken(f Facts) Outcome {
	token := f.GitHub.Token
	needed := neededScope[token.Kind]
	switch {
	case f.GitHub.Err != nil:
		return skip(f.GitHub.Host + " does not answer")
	case token.From == "":
		return Outcome{Fail, "none", advice("give one by RUNNERCTL_TOKEN, GITHUB_TOKEN or github.tokenFile, or log in by gh auth login")}
	case token.Err != nil:
		return Outcome{Fail, fmt.Sprintf("of %s: %s", token.From, token.Err), advice("make a new one that may administer the %s's runners", token.Kind)}
	case token.Scopes == nil:
		return pass("of %s, taken", token.From)
	case !slices.ContainsFunc(needed, func(scope string) bool { return slices.Contains(token.Scopes, scope) }):
		return Outcome{Fail, fmt.Sprintf("of %s: it lacks the scope %s (it has %s)", token.From, strings.Join(needed, " or "), strings.Join(token.Scopes, ", ")), advice("add the scope at github.com/settings/tokens, or use a fine-grained token or a GitHub App")}
	}
	return pass("of %s, with %s", token.From, strings.Join(token.Scopes, ", "))
}

// agentAge is how long after a newer release GitHub still gives an agent jobs
// ("Runner version enforcement" in its documentation).
const agentAge = 30 * 24 * time.Hour

func githubAgent(f Facts) Outcome {
	agents := f.GitHub.Agents
	switch {
	case agents.Newest == "":
		return skip("GitHub's releases can't be read")
	case agents.Wanted == "latest" || agents.Wanted == agents.Newest:
		return pass("%s, the newest", agents.Newest)
	case agents.Released.IsZero():
		return pass("%s (newest %s)", agents.Wanted, agents.Newest)
	}
	left := agentAge - agents.Now.Sub(agents.Released)
	remedy := advice("image.agent.version: latest, or %s; then runnerctl up", agents.Newest)
	switch {
	case left <= 0:
		return Outcome{Fail, fmt.Sprintf("%s is deprecated since %s (newest %s)", agents.Wanted, agents.Released.Add(agentAge).Format(time.DateOnly), agents.Newest), remedy}
	case left < 7*24*time.Hour:
		return Outcome{Warn, fmt.Sprintf("%s is deprecated on %s (newest %s)", agents.Wanted, agents.Released.Add(agentAge).Format(time.DateOnly), agents.Newest), remedy}
	}
	return pass("%s, good until %s (newest %s)", agents.Wanted, agents.Released.Add(agentAge).Format(time.DateOnly), agents.Newest)
}

func githubProxy(f Facts) Outcome {
	here, engine := f.Client.Proxy["HTTPS_PROXY"], f.Engine.Proxy["HTTPS_PROXY"]
	switch {
	case here == engine && here == "":
		return pass("none")
	case here == "":
		return Outcome{Warn, "the engine uses " + engine + ", runnerctl none", advice("export HTTPS_PROXY=%s", engine)}
	case engine == "":
		return Outcome{Warn, "runnerctl uses " + here + ", the engine none", advice("give it to the engine too: \"proxies\" in its daemon.json, or Environment=HTTPS_PROXY=… in its unit")}
	}
	return pass("%s here, %s in the engine", here, engine)
}
