package commands

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/secret"
)

func TestEngineSocket(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///run/user/1000/docker.sock": "/run/user/1000/docker.sock",
		"ssh://me@build.example":            dockerx.SupervisorSocket,
		"ssh://me@build.example/run/d.sock": "/run/d.sock",
		"tcp://build.example:2376":          dockerx.SupervisorSocket,
	} {
		if got := engineSocket(dockerx.Endpoint{Host: host}); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestSupervisorProgram(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ named, arch, want string }{
		{text, "x86_64", "text: no program of Linux"},
		{"/nosuch", "x86_64", "--supervisor-binary: /nosuch: no program of Linux"},
		{"", "riscv64", "no runnerctl for the engine's machine, which is riscv64"},
	} {
		if _, err := supervisorProgram(test.named, test.arch); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	other := map[string]string{"amd64": "aarch64", "arm64": "x86_64"}[runtime.GOARCH]
	if runtime.GOOS != "linux" || other == "" {
		return
	}
	if _, err := supervisorProgram("", other); err == nil || !strings.Contains(err.Error(), "the engine's machine is "+other) {
		t.Errorf("of another architecture: %v", err)
	}
}

// What a supervisor asks GitHub with survives the way there, and is printed nowhere.
func TestAccess(t *testing.T) {
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
	github := &registrar{client: client, group: ghapi.Group{ID: 7}}
	env := map[string]string{"RUNNERCTL_TOKEN": "ghp_token", "https_proxy": "http://proxy.example:3128"}
	for name, want := range map[string]access{
		"token": {Target: "https://github.com/acme/api", GroupID: 7, Token: "ghp_token", CAs: []byte("the-authority")},
		"app":   {Target: "https://github.com/acme/api", GroupID: 7, App: &accessApp{ID: 1, InstallationID: 2, Key: "the-key"}, CAs: []byte("the-authority")},
	} {
		loaded := config.Default()
		loaded.Target, loaded.GitHub.CAFile = "https://github.com/acme/api", "ca.pem"
		given := env
		if name == "app" {
			loaded.GitHub.App = config.App{ID: 1, InstallationID: 2, KeyFile: "key.pem"}
			given = map[string]string{"https_proxy": env["https_proxy"]}
		}
		asked, err := accessOf(t.Context(), deps{env: func(name string) string { return given[name] }}, loaded, github)
		if err != nil {
			t.Fatal(err)
		}
		document, err := asked.document()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("credential.json", []byte(document.Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := readAccess("credential.json")
		if err != nil || got.Target != want.Target || got.GroupID != 7 || got.Token != want.Token || string(got.CAs) != string(want.CAs) ||
			(got.App == nil) != (want.App == nil) || got.App != nil && *got.App != *want.App || got.Proxy.HTTPSProxy != "http://proxy.example:3128" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, _, err := readAccess("key.pem"); err == nil || strings.Contains(err.Error(), "the-key") {
		t.Errorf("no document: %v", err)
	}
}
