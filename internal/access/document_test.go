package access

import (
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/secret"
)

// A credential reaches the supervisor as it was, and errors do not contain it.
func TestDocument(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"key.pem": "the-key", "ca.pem": "the-authority"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target, err := ghapi.ParseTarget("https://github.com/acme/api")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ghapi.New(target, ghapi.Auth{Token: secret.New("ghp_other")}, ghapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	github := &Target{Client: client, Group: ghapi.Group{ID: 7}}
	env := map[string]string{"RUNNERCTL_TOKEN": "ghp_token", "https_proxy": "http://proxy.example:3128"}
	for name, want := range map[string]Document{
		"token": {Target: "https://github.com/acme/api", GroupID: 7, Token: "ghp_token", CAs: []byte("the-authority")},
		"app":   {Target: "https://github.com/acme/api", GroupID: 7, App: &DocumentApp{ID: 1, InstallationID: 2, Key: "the-key"}, CAs: []byte("the-authority")},
	} {
		loaded := config.Default()
		loaded.Target, loaded.GitHub.CAFile = "https://github.com/acme/api", "ca.pem"
		given := env
		if name == "app" {
			loaded.GitHub.App = config.App{ID: 1, InstallationID: 2, KeyFile: "key.pem"}
			given = map[string]string{"https_proxy": env["https_proxy"]}
		}
		asked, err := Opener{Env: func(name string) string { return given[name] }}.Document(t.Context(), loaded, github)
		if err != nil {
			t.Fatal(err)
		}
		document, err := asked.Text()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("credential.json", []byte(document.Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := ReadDocument("credential.json")
		if err != nil || got.Target != want.Target || got.GroupID != 7 || got.Token != want.Token || string(got.CAs) != string(want.CAs) ||
			(got.App == nil) != (want.App == nil) || got.App != nil && *got.App != *want.App || got.Proxy.HTTPSProxy != "http://proxy.example:3128" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, _, err := ReadDocument("key.pem"); err == nil || strings.Contains(err.Error(), "the-key") {
		t.Errorf("no document: %v", err)
	}
}
