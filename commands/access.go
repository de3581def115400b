package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/metrics"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// access is what a supervisor in the background asks GitHub with: one document, in a
// volume that only it has. It is what the settings and the environment of the up that
// left it behind had.
type access struct {
	Target  string           `json:"target"`
	GroupID int64            `json:"group_id"` // of the runner group
	Token   string           `json:"token,omitempty"`
	App     *accessApp       `json:"app,omitempty"` // instead of a token
	CAs     []byte           `json:"cas,omitempty"` // PEM, beyond the system's
	Proxy   httpproxy.Config `json:"proxy"`
}

type accessApp struct {
	ID             int64  `json:"id"`
	InstallationID int64  `json:"installation_id"`
	Key            string `json:"key"`
}

func accessOf(ctx context.Context, d deps, loaded config.Config, github *registrar) (access, error) {
	target := github.client.Target()
	auth, err := githubAuth(ctx, d, loaded, target.Host)
	if err != nil {
		return access{}, err
	}
	given := access{Target: target.URL(), GroupID: github.group.ID, Token: auth.Token.Reveal(), Proxy: proxySettings(d.env)}
	if auth.App != nil {
		given.App = &accessApp{ID: auth.App.ID, InstallationID: auth.App.InstallationID, Key: auth.App.Key.Reveal()}
	}
	given.CAs, err = githubCAs(loaded)
	return given, err
}

func (a access) document() (secret.Text, error) {
	text, err := json.Marshal(a)
	return secret.New(string(text)), err
}

// readAccess gives the document's text too: another one means another access.
func readAccess(path string) (access, string, error) {
	var given access
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &given)
	}
	if err != nil {
		return given, "", fmt.Errorf("the supervisor's credential: %w", err) // neither error tells what is in it
	}
	return given, string(text), nil
}

// client asks GitHub; m counts its calls.
func (a access) client(m *metrics.Metrics) (*ghapi.Client, error) {
	target, err := ghapi.ParseTarget(a.Target)
	if err != nil {
		return nil, err
	}
	auth := ghapi.Auth{Token: secret.New(a.Token), From: "the token that runnerctl up was given"}
	if a.App != nil {
		auth = ghapi.Auth{App: &ghapi.App{ID: a.App.ID, InstallationID: a.App.InstallationID, Key: secret.New(a.App.Key)}}
	}
	options := a.reach()
	options.Through = m.Transport
	return ghapi.New(target, auth, options)
}

// reach is how GitHub, and what it offers for download, is reached.
func (a access) reach() ghapi.Options {
	return ghapi.Options{CAs: a.CAs, UserAgent: "runnerctl/" + Version, Proxy: proxyBy(a.Proxy)}
}
