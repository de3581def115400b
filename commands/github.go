package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// githubFlags are of commands that ask GitHub.
func githubFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "target", Usage: "`URL` that runners take jobs from: https://github.com/OWNER/REPO, /ORG or /enterprises/E", DefaultText: "the file's target:, else none", EnvVars: []string{"RUNNERCTL_TARGET"}, Category: "GitHub"},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with GitHub's token", DefaultText: "$RUNNERCTL_TOKEN, the file's github:, $GITHUB_TOKEN, $GH_TOKEN, gh auth token", EnvVars: []string{"RUNNERCTL_TOKEN_FILE"}, Category: "GitHub"},
	}
}

// githubSettings puts the flags above the file.
func githubSettings(c *cli.Context, loaded *config.Config) {
	if c.IsSet("target") {
		loaded.Target = c.String("target")
	}
	if c.IsSet("token-file") {
		loaded.GitHub.TokenFlag = c.String("token-file")
	}
	if c.IsSet("ephemeral") {
		loaded.Runners.Ephemeral = c.Bool("ephemeral")
	}
}

// githubClient asks the GitHub of a target, which is a URL. It is the only way to a
// client, and so where a token stays at home.
func githubClient(ctx context.Context, d deps, loaded config.Config, address string) (*ghapi.Client, error) {
	target, err := ghapi.ParseTarget(address)
	if err != nil {
		return nil, &config.Error{Problem: err.Error()}
	}
	if home := tokenHost(loaded); target.Host != home {
		return nil, &elsewhereError{target: target, home: home}
	}
	auth, err := githubAuth(ctx, d, loaded, target.Host)
	if err != nil {
		return nil, err
	}
	options, err := reach(d, loaded)
	if err != nil {
		return nil, err
	}
	return ghapi.New(target, auth, options)
}

// githubCAs are the certificates that the target's GitHub needs beyond the usual ones.
func githubCAs(loaded config.Config) ([]byte, error) {
	if loaded.GitHub.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(loaded.Beside(loaded.GitHub.CAFile))
	if err != nil {
		return nil, &config.Error{Field: "github.caFile", Problem: err.Error()}
	}
	return text, nil
}

// reach is how GitHub, and what it offers for download, is reached.
func reach(d deps, loaded config.Config) (options ghapi.Options, err error) {
	options = ghapi.Options{Proxy: proxyBy(proxySettings(d.env)), UserAgent: "runnerctl/" + Version}
	options.CAs, err = githubCAs(loaded)
	return options, err
}

// tokenHost is the only host that is asked with what the settings have to ask with.
// Where a runner is registered is read from its container, which says nothing about
// whose a token is.
func tokenHost(loaded config.Config) string {
	if target, err := ghapi.ParseTarget(loaded.Target); err == nil {
		return target.Host
	}
	return "github.com"
}

// elsewhereError is a target of another host than the token's.
type elsewhereError struct {
	target ghapi.Target
	home   string
}

func (e *elsewhereError) Error() string {
	return fmt.Sprintf("%s is not asked: the token is for %s", e.target.URL(), e.home)
}

// Hint says what to do.
func (e *elsewhereError) Hint() string {
	return "--target " + e.target.URL() + ", with a token of that host, asks there"
}

// githubAuth finds who asks: what was chosen for runnerctl goes before what the
// environment has for every program.
func githubAuth(ctx context.Context, d deps, loaded config.Config, host string) (ghapi.Auth, error) {
	settings := loaded.GitHub
	if settings.TokenFlag != "" {
		return tokenFrom("--token-file", settings.TokenFlag)
	}
	if token := d.env("RUNNERCTL_TOKEN"); token != "" {
		return ghapi.Auth{Token: secret.New(token), From: "the token in $RUNNERCTL_TOKEN"}, nil
	}
	switch {
	case settings.App.ID != 0:
		key, err := os.ReadFile(loaded.Beside(settings.App.KeyFile))
		if err != nil {
			return ghapi.Auth{}, &config.Error{Field: "github.app.keyFile", Problem: err.Error()}
		}
		return ghapi.Auth{App: &ghapi.App{ID: settings.App.ID, InstallationID: settings.App.InstallationID, Key: secret.New(string(key))}}, nil
	case settings.TokenFile != "":
		return tokenFrom("github.tokenFile", loaded.Beside(settings.TokenFile))
	}
	for _, name := range []string{"GITHUB_TOKEN", "GH_TOKEN"} {
		if token := d.env(name); token != "" {
			return ghapi.Auth{Token: secret.New(token), From: "the token in $" + name}, nil
		}
	}
	if token := tokenOfGh(ctx, host); !token.Empty() {
		return ghapi.Auth{Token: token, From: "gh's token"}, nil
	}
	return ghapi.Auth{}, nil
}

func tokenFrom(setting, file string) (ghapi.Auth, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return ghapi.Auth{}, &config.Error{Field: setting, Problem: err.Error()}
	}
	token := bytes.TrimSpace(text)
	if len(token) == 0 || bytes.ContainsAny(token, " \t\r\n") {
		return ghapi.Auth{}, &config.Error{Field: setting, Problem: file + ": expected one word, the token"}
	}
	return ghapi.Auth{Token: secret.New(string(token)), From: "the token in " + file}, nil
}

// ghLimit bounds the asking of gh, which may look into a keyring.
const ghLimit = 5 * time.Second

// tokenOfGh is what GitHub's own command line is logged in with; empty where it
// is not, or not there.
func tokenOfGh(ctx context.Context, host string) secret.Text {
	bounded, cancel := context.WithTimeout(ctx, ghLimit)
	defer cancel()
	out, err := exec.CommandContext(bounded, "gh", "auth", "token", "--hostname", host).Output()
	if err != nil {
		return secret.Text{}
	}
	return secret.New(strings.TrimSpace(string(out)))
}

// proxySettings are the environment's, in either case.
func proxySettings(env func(string) string) httpproxy.Config {
	either := func(name string) string {
		if value := env(name); value != "" {
			return value
		}
		return env(strings.ToLower(name))
	}
	return httpproxy.Config{HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY")}
}

// proxyBy is the proxy that settings choose for a request.
func proxyBy(settings httpproxy.Config) func(*http.Request) (*url.URL, error) {
	proxy := settings.ProxyFunc()
	return func(request *http.Request) (*url.URL, error) { return proxy(request.URL) }
}

// registrar is a target that new runners are to be registered with, found fit.
type registrar struct {
	client *ghapi.Client
	group  ghapi.Group
	mode   fleet.AgentMode
}

// checkGitHub finds out before anything is made whether runners can be registered
// as the settings say; nil where they name no target.
func checkGitHub(ctx context.Context, d deps, loaded config.Config, allowPublic bool) (*registrar, error) {
	if loaded.Target == "" {
		return nil, nil
	}
	client, err := githubClient(ctx, d, loaded, loaded.Target)
	if err != nil {
		return nil, err
	}
	found := &registrar{client: client, mode: fleet.Token}
	if _, err := client.RunnerByName(ctx, loaded.Name); err != nil {
		return nil, err // the cheapest question that only who may register is answered
	}
	if found.group, err = client.GroupByName(ctx, loaded.Runners.Group); err != nil {
		return nil, err
	}
	public, err := client.Public(ctx, found.group)
	if err != nil {
		return nil, err
	}
	if public && !allowPublic {
		return nil, &publicError{target: client.Target(), group: found.group.Name}
	}
	jit, err := client.HasJIT(ctx)
	if jit && loaded.Runners.Ephemeral {
		found.mode = fleet.JIT
	}
	return found, err
}

// agent is how the fleet's runners are registered.
func (r *registrar) agent(loaded config.Config, marker string) fleet.Agent {
	labels := append(slices.Clone(loaded.Runners.Labels), marker)
	slices.Sort(labels)
	return fleet.Agent{Mode: r.mode, URL: r.client.Target().URL(), Labels: slices.Compact(labels), Group: r.group.Name, Ephemeral: loaded.Runners.Ephemeral}
}

// maxClockError is how far off GitHub lets the clock of an agent be.
const maxClockError = 5 * time.Minute

// checkClock holds an engine's clock, which told now a moment ago, against GitHub's.
func (r *registrar) checkClock(ctx context.Context, d deps, loaded config.Config, now time.Time) error {
	options, err := reach(d, loaded)
	if err != nil {
		return err
	}
	skew, err := ghapi.Skew(ctx, r.client.Target(), options)
	if err != nil {
		return ctx.Err() // asked once only: an answer that gets lost is no reason to stop
	}
	if off := time.Until(now) - skew; !now.IsZero() && off.Abs() > maxClockError {
		return &clockError{off}
	}
	return nil
}

// clockError is how far an engine's clock is ahead of GitHub's.
type clockError struct{ ahead time.Duration }

func (e *clockError) Error() string {
	side := "ahead of"
	if e.ahead < 0 {
		side = "behind"
	}
	return fmt.Sprintf("the engine's clock is %s %s GitHub's", e.ahead.Abs().Round(time.Second), side)
}

// Hint says what to do.
func (e *clockError) Hint() string {
	return "agents sign with it, and GitHub refuses them: set the clock of the engine's machine (timedatectl set-ntp true)"
}

func (r *registrar) String() string {
	life := "runners stay"
	if r.mode == fleet.JIT {
		life = "one job each"
	}
	return fmt.Sprintf("%s · %s", strings.TrimPrefix(r.client.Target().URL(), "https://"), life)
}

// publicError is a target that strangers can send jobs to.
type publicError struct {
	target ghapi.Target
	group  string
}

func (e *publicError) Error() string {
	if e.target.Kind == ghapi.Repo {
		return fmt.Sprintf("%s is public", e.target)
	}
	return fmt.Sprintf("runner group %s of %s may be used by public repositories", e.group, e.target)
}

// Cause is GitHub's own reason.
func (e *publicError) Cause() string {
	return `GitHub: "We recommend that you only use self-hosted runners with private repositories. This is because forks of your public repository can potentially run dangerous code on your self-hosted runner machine by creating a pull request that executes the code in a workflow."`
}

// Hint says what to do.
func (e *publicError) Hint() string {
	return "--allow-public-repo takes the risk; let GitHub ask for approval of all outside contributors' workflows first (Settings, Actions, General)"
}

// observe looks at a fleet from both sides: its runners on the engine, joined with
// what every target lists where one of them, or the settings, belong. orphans are
// registrations without a runner.
func observe(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config, name string, own *registrar) (runners []fleet.Runner, forges fleet.Forges, orphans []fleet.Registration, err error) {
	if runners, err = engine.Runners(ctx, name); err != nil {
		return nil, nil, nil, err
	}
	forges, orphans, err = joinGitHub(ctx, d, engine, loaded, name, runners, own)
	return runners, forges, orphans, err
}

// joinGitHub adds to a fleet's runners what GitHub lists; an *unaskedError says where
// that is not to be had, and why.
func joinGitHub(ctx context.Context, d deps, engine *dockerx.Engine, loaded config.Config, name string, runners []fleet.Runner, own *registrar) (fleet.Forges, []fleet.Registration, error) {
	urls := targetsOf(runners, loaded, name)
	if len(urls) == 0 {
		return nil, nil, nil
	}
	facts, err := engine.Facts(ctx)
	if err != nil {
		return nil, nil, err
	}
	forges := fleet.Forges{}
	var orphans []fleet.Registration
	var unasked []error
	for _, address := range urls {
		var listed []fleet.Registration
		forge, err := openForge(ctx, d, loaded, address, own, fleet.Marker(name, facts.ID), facts.Arch)
		if err == nil {
			listed, err = forge.Registrations(ctx)
		}
		if err != nil {
			unasked = append(unasked, err)
			markUnasked(runners, name, address, err)
			continue
		}
		forges[address] = forge
		orphans = append(orphans, fleet.Join(runners, name, address, listed)...)
	}
	if len(unasked) > 0 {
		return forges, orphans, &unaskedError{errors.Join(unasked...)}
	}
	return forges, orphans, nil
}

// markUnasked tells runners that GitHub was not asked about from those of which it
// did not answer.
func markUnasked(runners []fleet.Runner, name, address string, err error) {
	var elsewhere *elsewhereError
	if !errors.As(err, &elsewhere) {
		return
	}
	for i := range runners {
		if runner := &runners[i]; runner.Fleet == name && runner.Agent.Mode != fleet.NoAgent && runner.Agent.URL == address {
			runner.Listing = &fleet.Listing{State: fleet.NotAsked}
		}
	}
}

func openForge(ctx context.Context, d deps, loaded config.Config, address string, own *registrar, marker, arch string) (*ghapi.Forge, error) {
	if own != nil && own.client.Target().URL() == address {
		return ghapi.NewForge(own.client, marker, own.group.ID, arch), nil
	}
	client, err := githubClient(ctx, d, loaded, address)
	if err != nil {
		return nil, err
	}
	return ghapi.NewForge(client, marker, 0, arch), nil
}

// targetsOf lists where a fleet's runners are registered, and where the settings
// would have them if they are of this fleet.
func targetsOf(runners []fleet.Runner, loaded config.Config, name string) (urls []string) {
	for _, runner := range runners {
		if runner.Fleet == name && runner.Agent.Mode != fleet.NoAgent {
			urls = append(urls, runner.Agent.URL)
		}
	}
	if loaded.Target != "" && name == loaded.Name {
		if target, err := ghapi.ParseTarget(loaded.Target); err == nil {
			urls = append(urls, target.URL())
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// authFailed tells errors that are a question of who asks GitHub.
func authFailed(err error) bool {
	var denied *ghapi.AuthError
	return errors.As(err, &denied)
}
