package export

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/golden"
)

// usual is a fleet of a repository.
func usual() Fleet {
	return Fleet{
		Name: "ci", URL: "https://github.com/acme/api", Target: ghapi.Target{Kind: ghapi.Repo, Host: "github.com", Owner: "acme", Repo: "api"},
		Count: 3, Spares: 1, Ephemeral: true, Labels: []string{"gpu", "large"}, Group: "Default",
		Runner: dockerx.Define(fleet.Spec{
			Fleet: "ci", Image: "registry.example.com/runner:1", CPUs: 2, Memory: 4 << 30, Pids: 32768, Shm: 1 << 30, InnerPrivileged: true,
			NetworkDriver: "slirp4netns", MTU: 21885, AppArmor: "unconfined", Bip: "10.213.0.1/17", Pool: "base=10.213.128.0/17,size=24",
			DockerStart: fleet.OnDemand, Env: map[string]string{"QUOTED": `it's $HOME, $(id) and "b"`},
		}),
	}
}

// other is a fleet of an organization with everything else.
func other() Fleet {
	return Fleet{
		Name: "nightly", URL: "https://ghes.example.com/acme", Target: ghapi.Target{Kind: ghapi.Org, Host: "ghes.example.com", Owner: "acme"},
		Count: 1, Group: "builders",
		Runner: dockerx.Define(fleet.Spec{
			Fleet: "nightly", Image: "runnerctl/runner:x", CPUs: 1.5, Memory: 2 << 30, Pids: 1000, Shm: 1 << 30, NetworkDriver: "pasta", MTU: 65520, AppArmor: "unconfined",
			Bip: "10.213.0.1/17", Pool: "base=10.213.128.0/17,size=24", Proxy: &fleet.Proxy{HTTP: "http://proxy.example.com:3128"},
		}),
	}
}

// Each tool's files are the golden ones.
func TestGolden(t *testing.T) {
	for tool, write := range map[string]func(Fleet) (Files, error){
		"docker-run": DockerRun, "compose": Compose, "systemd": Systemd, "nomad": Nomad,
		"kubernetes": func(of Fleet) (Files, error) { return Kubernetes(of, Cluster{}) },
		"device-plugin": func(of Fleet) (Files, error) {
			return Kubernetes(of, Cluster{PluginImage: "registry.example.com/tun:1"})
		},
	} {
		for _, of := range []Fleet{usual(), other()} {
			made, err := write(of)
			if err != nil {
				t.Fatalf("%s: %v", tool, err)
			}
			folder := filepath.Join("testdata", tool, of.Name)
			for path, text := range made {
				if path == seccompFile || strings.HasPrefix(path, "node/seccomp") && tool != "kubernetes" || strings.HasPrefix(path, "node/") && of.Name != "ci" { // the same for all fleets
					continue
				}
				golden.Check(t, filepath.Join(folder, filepath.FromSlash(path)), text)
				if bytes.Contains(text, []byte("<no value>")) {
					t.Errorf("%s: %s has a value that is missing", tool, path)
				}
			}
			if len(made[seccompFile]) == 0 && len(made["node/seccomp-amd64.json"]) == 0 {
				t.Errorf("%s: no seccomp profile", tool)
			}
		}
	}
}

// A second export is the same byte for byte.
func TestDeterministic(t *testing.T) {
	for range 5 {
		first, err := Kubernetes(usual(), Cluster{})
		if err != nil {
			t.Fatal(err)
		}
		if second, err := Kubernetes(usual(), Cluster{}); err != nil || !maps.EqualFunc(first, second, bytes.Equal) {
			t.Errorf("another export differs: %v", err)
		}
	}
}

func TestWithoutAppArmor(t *testing.T) {
	made, err := Kubernetes(usual(), Cluster{NoAppArmor: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, found := made["node/apparmor"]; found {
		t.Error("there is a profile, want none")
	}
	for _, path := range []string{"values.yaml", "smoke-pod.yaml"} {
		if strings.Contains(string(made[path]), "appArmor") {
			t.Errorf("%s asks for AppArmor:\n%s", path, made[path])
		}
	}
}

// Settings without an effect in a pod are refused by their names.
func TestUnfit(t *testing.T) {
	of := usual()
	of.Runner.Devices, of.Runner.Runtime = append(slices.Clone(of.Runner.Devices), "/dev/kvm"), "sysbox-runc"
	if _, err := Kubernetes(of, Cluster{}); err == nil || err.Error() != "runners.devices, runners.runtime: a pod can't have this" {
		t.Errorf("got %v, want both settings", err)
	}
}

func TestWrite(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	if err := (Files{"README.md": []byte("text"), "node/install.sh": []byte("#!/bin/sh\n")}).Write(folder); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{"README.md": 0o644, "node/install.sh": 0o755} {
		if info, err := os.Stat(filepath.Join(folder, path)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want mode %s", path, info, err, mode)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for word, want := range map[string]string{"": "''", "a=b:c/d": "a=b:c/d", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := shellQuote(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}
