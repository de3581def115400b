package ghapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/bradleyfalzon/ghinstallation/v2"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// App is a GitHub App that may register runners.
type App struct {
	ID             int64
	InstallationID int64       // 0: looked up by the target
	Key            secret.Text // PEM
}

var errKey = errors.New("the App's key is not an RSA private key in PEM")

// installationTransport returns a transport that signs with the App's installation token,
// which it requests and renews by itself. The installation is looked up once.
func (c *Client) installationTransport(ctx context.Context) (http.RoundTripper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.installation != nil {
		return c.installation, nil
	}
	app, err := ghinstallation.NewAppsTransport(c.http.Transport, c.auth.App.ID, []byte(c.auth.App.Key.Reveal()))
	if err != nil {
		// Leave out the parser's own message: it may quote the key.
		return nil, &AuthError{Err: fmt.Errorf("GitHub App %d: %w", c.auth.App.ID, errKey), advice: "github.app.keyFile must be the PEM file that the App's settings page generated"}
	}
	app.BaseURL = strings.TrimSuffix(c.target.APIURL(), "/")
	id := c.auth.App.InstallationID
	if id == 0 {
		var found struct{ ID int64 }
		if err := c.callAs(ctx, through(app), request{method: http.MethodGet, path: c.target.route() + "/installation", out: &found}); err != nil {
			return nil, err
		}
		id = found.ID
	}
	c.installation = ghinstallation.NewFromAppsTransport(app, id)
	return c.installation, nil
}

func through(transport http.RoundTripper) sender {
	return (&http.Client{Transport: transport, CheckRedirect: sameHost}).Do
}
