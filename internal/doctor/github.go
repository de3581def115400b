package doctor

import (
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/hint"
)

var githubChecks = []Check{
	{ID: "github.reachable", Title: "GitHub", Group: "GitHub", Severity: Mandatory, Needs: NeedsOutside | NeedsGitHub, Run: githubReachable,
		Why: "runners get their jobs from GitHub"},
	{ID: "github.clock", Title: "clock against GitHub's", Group: "GitHub", Severity: Advice, Needs: NeedsOutside | NeedsGitHub, Run: githubClock,
		Why: "an App's tokens contain the time, and GitHub refuses them if the clock is a minute off"},
	{ID: "github.token", Title: "token", Group: "GitHub", Severity: Mandatory, Needs: NeedsOutside | NeedsGitHub, Run: githubToken,
		Why: "runners are registered with it"},
	{ID: "github.agent", Title: "version of the agent", Group: "GitHub", Severity: Mandatory, Needs: NeedsOutside | NeedsGitHub, Run: githubAgent,
		Why: "GitHub gives no jobs to outdated agents"},
	{ID: "github.proxy", Title: "proxy", Group: "GitHub", Severity: Advice, Needs: NeedsEngine, Run: githubProxy,
		Why: "behind a proxy, runnerctl needs it for GitHub and the engine needs it for images"},
}

// GitHub holds the facts about the target's GitHub.
type GitHub struct {
	Host    string
	Err     error         // GitHub does not answer
	Skew    time.Duration // of its clock against this machine's; positive: it is ahead
	Token   error         // why these credentials may not register runners, with a Hint; nil if they may
	Untried error         // why the token could not be tried
	Agent   Agent
}

// Agent is GitHub's runner program in the image that runners would get.
type Agent struct {
	Version    string    // "" if the image, or its agent's version, is not known
	Newest     string    // newest version at GitHub; "" if it can't be read
	Err        error     // why one of these is not known
	Deprecated time.Time // when GitHub stops giving it jobs; zero if no date is set
	Now        time.Time
}

func githubReachable(f Facts) Outcome {
	if f.GitHub.Err != nil {
		return Outcome{Fail, f.GitHub.Err.Error(), advice("allow this machine to reach %s on port 443 (HTTPS_PROXY and github.caFile are respected)", f.GitHub.Host)}
	}
	return pass("%s answers", f.GitHub.Host)
}

func githubClock(f Facts) Outcome {
	if f.GitHub.Err != nil {
		return skip(f.GitHub.Host + " does not answer")
	}
	if skew := f.GitHub.Skew.Abs(); skew > 30*time.Second {
		return Outcome{Warn, fmt.Sprintf("GitHub's clock and this one differ by %s", skew.Round(time.Second)), advice("synchronize this machine's clock: timedatectl set-ntp true")}
	}
	return pass("agrees")
}

func githubToken(f Facts) Outcome {
	if f.GitHub.Err != nil {
		return skip(f.GitHub.Host + " does not answer")
	}
	if f.GitHub.Token != nil {
		text := "set a token; runnerctl up --help lists the places where it is looked up"
		if found := hint.Of(f.GitHub.Token); found != "" {
			text = found
		}
		return Outcome{Fail, f.GitHub.Token.Error(), advice("%s", text)}
	}
	if f.GitHub.Untried != nil {
		return Outcome{Warn, "not tried: " + f.GitHub.Untried.Error(), advice("try again; githubstatus.com shows GitHub's outages")}
	}
	return pass("may register runners")
}

func githubAgent(f Facts) Outcome {
	agent := f.GitHub.Agent
	remedy := advice("use %s for the image (image.agent in runnerctl.yaml), then run runnerctl up", agent.Newest)
	left := agent.Deprecated.Sub(agent.Now)
	switch {
	case agent.Err != nil:
		return skip(agent.Err.Error())
	case agent.Newest == "":
		return skip("GitHub's releases can't be read")
	case agent.Version == "":
		return skip("no image contains an agent of a known version yet")
	case agent.Deprecated.IsZero():
		return pass("%s (newest %s)", agent.Version, agent.Newest)
	case left <= 0:
		return Outcome{Fail, fmt.Sprintf("%s gets no jobs since %s (newest %s)", agent.Version, agent.Deprecated.Format(time.DateOnly), agent.Newest), remedy}
	case left < 14*24*time.Hour:
		return Outcome{Warn, fmt.Sprintf("%s gets no jobs from %s on (newest %s)", agent.Version, agent.Deprecated.Format(time.DateOnly), agent.Newest), remedy}
	}
	return pass("%s, good until %s (newest %s)", agent.Version, agent.Deprecated.Format(time.DateOnly), agent.Newest)
}

func githubProxy(f Facts) Outcome {
	here, engine := f.Client.Proxy["HTTPS_PROXY"], f.Engine.Proxy["HTTPS_PROXY"]
	switch {
	case here == engine && here == "":
		return pass("none")
	case here == "":
		return Outcome{Warn, "the engine uses " + engine + ", runnerctl none", advice("export HTTPS_PROXY=%s", engine)}
	case engine == "":
		return Outcome{Warn, "runnerctl uses " + here + ", the engine none", advice("set it for the engine too: \"proxies\" in its daemon.json, or Environment=HTTPS_PROXY=… in its unit")}
	}
	return pass("%s here, %s in the engine", here, engine)
}
