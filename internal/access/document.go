package access

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"golang.org/x/net/http/httpproxy"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// Document holds everything that a background supervisor needs to call GitHub. It is one JSON
// document in a volume that only the supervisor mounts. Its content comes from the settings
// and the environment of the up that started the supervisor.
type Document struct {
	Target  string           `json:"target"`
	GroupID int64            `json:"group_id"` // of the runner group
	Token   string           `json:"token,omitempty"`
	App     *DocumentApp     `json:"app,omitempty"` // instead of a token
	CAs     []byte           `json:"cas,omitempty"` // PEM, in addition to the system's
	Proxy   httpproxy.Config `json:"proxy"`
}

// DocumentApp is an App's credential.
type DocumentApp struct {
	ID             int64  `json:"id"`
	InstallationID int64  `json:"installation_id"`
	Key            string `json:"key"`
}

// Document creates the document for a target.
func (o Opener) Document(ctx context.Context, loaded config.Config, of *Target) (Document, error) {
	target := of.Client.Target()
	auth, err := o.auth(ctx, loaded, target.Host)
	if err != nil {
		return Document{}, err
	}
	given := Document{Target: target.URL(), GroupID: of.Group.ID, Token: auth.Token.Reveal(), Proxy: Proxy(o.Env)}
	if auth.App != nil {
		given.App = &DocumentApp{ID: auth.App.ID, InstallationID: auth.App.InstallationID, Key: auth.App.Key.Reveal()}
	}
	given.CAs, err = CAs(loaded)
	return given, err
}

// Text returns the document as secret text.
func (a Document) Text() (secret.Text, error) {
	text, err := json.Marshal(a)
	return secret.New(string(text)), err
}

// ReadDocument reads a document and its text: if the text changes, the access has changed.
// Errors contain nothing of it.
func ReadDocument(path string) (Document, string, error) {
	var given Document
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &given)
	}
	if err != nil {
		return given, "", fmt.Errorf("the supervisor's credential: %w", err)
	}
	return given, string(text), nil
}

// Client opens the document's client. through wraps the transport of its requests.
func (a Document) Client(userAgent string, through func(http.RoundTripper) http.RoundTripper) (*ghapi.Client, error) {
	target, err := ghapi.ParseTarget(a.Target)
	if err != nil {
		return nil, err
	}
	auth := ghapi.Auth{Token: secret.New(a.Token), From: "the token that runnerctl up was given"}
	if a.App != nil {
		auth = ghapi.Auth{App: &ghapi.App{ID: a.App.ID, InstallationID: a.App.InstallationID, Key: secret.New(a.App.Key)}}
	}
	options := a.Reach(userAgent)
	options.Through = through
	return ghapi.New(target, auth, options)
}

// Reach returns how to reach GitHub and the files that it offers for download.
func (a Document) Reach(userAgent string) ghapi.Options {
	return ghapi.Options{CAs: a.CAs, UserAgent: userAgent, Proxy: ProxyFunc(a.Proxy)}
}
