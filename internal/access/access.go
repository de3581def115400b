// Package access resolves the credential for GitHub and the way to reach GitHub: credentials
// from flags, environment, settings and gh; proxies and certificates; whether runners may be
// registered with a target; and the document that passes all of it to a supervisor. It may
// import ghapi, config, fleet and secret.
package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// Opener opens clients of GitHub.
type Opener struct {
	Env       func(string) string // environment variables of this process
	UserAgent string
}

// Client opens a client for a target, which is a URL. It is the only way to get a client, and
// therefore the place that sends a credential to its own host only.
func (o Opener) Client(ctx context.Context, loaded config.Config, address string) (*ghapi.Client, error) {
	target, err := ghapi.ParseTarget(address)
	if err != nil {
		return nil, &config.Error{Problem: err.Error()}
	}
	if home := credentialHost(loaded); target.Host != home {
		return nil, &OtherHostError{target: target, home: home}
	}
	auth, err := o.auth(ctx, loaded, target.Host)
	if err != nil {
		return nil, err
	}
	options, err := o.Reach(loaded)
	if err != nil {
		return nil, err
	}
	return ghapi.New(target, auth, options)
}

// Reach returns how to reach GitHub and the files that it offers for download.
func (o Opener) Reach(loaded config.Config) (options ghapi.Options, err error) {
	options = ghapi.Options{Proxy: ProxyFunc(Proxy(o.Env)), UserAgent: o.UserAgent}
	options.CAs, err = CAs(loaded)
	return options, err
}

// CAs returns the certificates (PEM) that the target's GitHub needs in addition to the
// system's.
func CAs(loaded config.Config) ([]byte, error) {
	if loaded.GitHub.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(loaded.Resolve(loaded.GitHub.CAFile))
	if err != nil {
		return nil, &config.Error{Field: "github.caFile", Problem: err.Error()}
	}
	return text, nil
}

// credentialHost is the only host that the settings' credential is sent to. A runner's target
// is read from its container, which does not record whose credential it needs.
func credentialHost(loaded config.Config) string {
	if target, err := ghapi.ParseTarget(loaded.Target); err == nil {
		return target.Host
	}
	return "github.com"
}

// OtherHostError reports a target on a host other than the credential's.
type OtherHostError struct {
	target ghapi.Target
	home   string
}

func (e *OtherHostError) Error() string {
	return fmt.Sprintf("%s is not asked: the token is for %s", e.target.URL(), e.home)
}

// Hint returns advice for the user.
func (e *OtherHostError) Hint() string {
	return "--target " + e.target.URL() + ", with a token of that host, shows it"
}

// auth resolves the credential. Runnerctl's own settings override variables that other
// programs also read.
func (o Opener) auth(ctx context.Context, loaded config.Config, host string) (ghapi.Auth, error) {
	settings := loaded.GitHub
	if settings.TokenFlag != "" {
		return tokenFrom("--token-file", settings.TokenFlag)
	}
	if token := o.Env("RUNNERCTL_TOKEN"); token != "" {
		return ghapi.Auth{Token: secret.New(token), From: "the token in $RUNNERCTL_TOKEN"}, nil
	}
	switch {
	case settings.App.ID != 0:
		key, err := os.ReadFile(loaded.Resolve(settings.App.KeyFile))
		if err != nil {
			return ghapi.Auth{}, &config.Error{Field: "github.app.keyFile", Problem: err.Error()}
		}
		return ghapi.Auth{App: &ghapi.App{ID: settings.App.ID, InstallationID: settings.App.InstallationID, Key: secret.New(string(key))}}, nil
	case settings.TokenFile != "":
		return tokenFrom("github.tokenFile", loaded.Resolve(settings.TokenFile))
	}
	for _, name := range []string{"GITHUB_TOKEN", "GH_TOKEN"} {
		if token := o.Env(name); token != "" {
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

// ghLimit bounds a call of gh, which may look into a keyring.
const ghLimit = 5 * time.Second

// tokenOfGh returns the token of GitHub's own command line (gh). It is empty if gh is not
// logged in or not installed.
func tokenOfGh(ctx context.Context, host string) secret.Text {
	bounded, cancel := context.WithTimeout(ctx, ghLimit)
	defer cancel()
	out, err := exec.CommandContext(bounded, "gh", "auth", "token", "--hostname", host).Output()
	if err != nil {
		return secret.Text{}
	}
	return secret.New(strings.TrimSpace(string(out)))
}

// Proxy returns the proxy settings of the environment; variable names may be in upper or lower
// case.
func Proxy(env func(string) string) httpproxy.Config {
	either := func(name string) string {
		if value := env(name); value != "" {
			return value
		}
		return env(strings.ToLower(name))
	}
	return httpproxy.Config{HTTPProxy: either("HTTP_PROXY"), HTTPSProxy: either("HTTPS_PROXY"), NoProxy: either("NO_PROXY")}
}

// ProxyFunc chooses the proxy of a request, in the form that http.Transport expects.
func ProxyFunc(settings httpproxy.Config) func(*http.Request) (*url.URL, error) {
	proxy := settings.ProxyFunc()
	return func(request *http.Request) (*url.URL, error) { return proxy(request.URL) }
}

// Denied reports whether GitHub refused a request because of its credential.
func Denied(err error) bool {
	var denied *ghapi.AuthError
	return errors.As(err, &denied)
}
