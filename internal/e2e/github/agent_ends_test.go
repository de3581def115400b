//go:build linux

package github

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/secret"
	"github.com/runnerctl/runnerctl/scripts"
)

// A listener that ends with code 2 is started again. A runner that only ever restarts in this
// way ends at last.
func TestAgentStartsAgainAfterCode2(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	hopeless := f.Create(e2e.JITAgent, e2e.JITConfig(t, "exit 2"))
	recovers := f.Create(e2e.JITAgent, e2e.JITConfig(t, "[ ! -e /tmp/again ] || exit 0; touch /tmp/again; exit 2"))
	stopped := f.Create(e2e.JITAgent, e2e.JITConfig(t, "exit 2"))
	e2e.Eventually(t, time.Minute, "it pauses", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, stopped.ContainerID), "ended with code 2, restarting in 5 s")
	})
	if err := f.API.ContainerStop(t.Context(), stopped.ContainerID, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		runner             fleet.Runner
		code, fewest, most int // starts
	}{{hopeless, 2, 5, 5}, {recovers, 0, 2, 2}, {stopped, 0, 1, 2}} {
		code, log := f.Ended(test.runner)
		if got := strings.Count(log, "agent: Listening for Jobs"); code != test.code || got < test.fewest || got > test.most {
			t.Errorf("code %d after %d starts, want %d after %d to %d:\n%s", code, got, test.code, test.fewest, test.most, log)
		}
	}
}

// A container that runs alone and is restarted without end keeps one runner name. It
// registers more and more slowly while its starts end soon.
func TestImageAloneStartsAgainSlowly(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	config, host := alone(f.Spec.Image, "REPO_URL=https://github.com/acme/api", "RUNNER_TOKEN=registration-refused", "EPHEMERAL=true", "RUNNER_NAME_PREFIX=again")
	host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyAlways}
	id := e2e.StartAlone(t, f.API, config, host)
	e2e.Eventually(t, time.Minute, "three starts", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, id), "agent: waiting 4s: the last 2 starts failed soon\n")
	})
	names := map[string]bool{}
	for line := range strings.Lines(e2e.ContainerLog(t, f.API, id)) {
		if _, rest, found := strings.Cut(line, " --name "); found {
			name, _, _ := strings.Cut(rest, " ")
			names[name] = true
		}
	}
	if len(names) != 1 {
		t.Errorf("names %v, want one", names)
	}
	for name := range names {
		if !strings.HasPrefix(name, "again-") || len(name) != len("again-")+12 {
			t.Errorf("name %s, want again- and 12 characters", name)
		}
	}
}

// When a registration is deleted at GitHub, a static runner ends with the code for that,
// whether it is listening or is started later, and up makes a new one.
func TestRegistrationDeletedAtGitHub(t *testing.T) {
	api, github, name := e2e.EnterpriseServer(t, ghsim.Options{}, "acme", "runners: {ephemeral: false}")
	deleteAtGitHub := func(runner fleet.Runner) {
		t.Helper()
		target, err := ghapi.ParseTarget(github.URL + "/acme")
		if err != nil {
			t.Fatal(err)
		}
		client, err := ghapi.New(target, ghapi.Auth{Token: secret.New(os.Getenv("RUNNERCTL_TOKEN"))}, ghapi.Options{CAs: github.CA()})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Remove(t.Context(), runner.Listing.ID); err != nil {
			t.Fatal(err)
		}
	}
	ends := func(runner fleet.Runner) {
		t.Helper()
		e2e.Eventually(t, 2*time.Minute, "the runner ends with a code of its own", func() bool {
			info, err := api.ContainerInspect(t.Context(), runner.Name)
			if err != nil {
				t.Fatal(err)
			}
			return info.State.ExitCode == 77
		})
		if log := e2e.ContainerLog(t, api, runner.Name); !strings.Contains(log, "agent: GitHub has deleted this runner's registration") {
			t.Errorf("log:\n%s\nwant %q", log, "agent: GitHub has deleted this runner's registration")
		}
	}
	e2e.Must(t, e2e.Up(name)...)
	listening := e2e.List(t, name)[0]
	deleteAtGitHub(listening)
	ends(listening)

	e2e.Must(t, e2e.Up(name)...)
	second := e2e.List(t, name)[0]
	if second.Name == listening.Name || second.Listing == nil || second.Listing.State != fleet.Online {
		t.Fatalf("got %+v, want another runner than %s, online", second, listening.Name)
	}
	if err := api.ContainerStop(t.Context(), second.Name, container.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	deleteAtGitHub(second)
	if err := api.ContainerStart(t.Context(), second.Name, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	ends(second)
}

// Of the libraries that carry a version in their names, the newest that .NET opens is chosen.
func TestLibrariesOfTheAgent(t *testing.T) {
	tools := t.TempDir()
	script := filepath.Join(tools, "world-check")
	text, err := scripts.Image.ReadFile("image/world-check")
	if err == nil {
		err = errors.Join(os.WriteFile(script, text, 0o755), os.WriteFile(filepath.Join(tools, "profile"), nil, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	listing := func(names string) {
		t.Helper()
		fake := "#!/bin/sh\ncase \"$1\" in show) exit 0 ;; pkgnames) printf '%s\\n' " + names + " | grep \"^$2\" ;; esac\n"
		if err := os.WriteFile(filepath.Join(tools, "apt-cache"), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for names, want := range map[string]string{
		"libicu76 libssl3 libssl3t64 liblttng-ust1t64":                  " libicu76 libssl3t64 liblttng-ust1t64\n",
		"libicu76 libicu9 libssl3 libssl4 libssl4t64 liblttng-ust1":     " libicu76 libssl3 liblttng-ust1\n",
		"libicu66 libssl1.1 libssl-dev libssl1.1-dbg liblttng-ust0 x":   " libicu66 libssl1.1 liblttng-ust0\n",
		"libicu76 libssl4 liblttng-ust1":                                "no package like libssl",
		"libicu72 libssl3 libssl1.1 liblttng-ust1 liblttng-ust-common1": " libicu72 libssl3 liblttng-ust1\n",
	} {
		listing(names)
		command := exec.CommandContext(t.Context(), "sh", script, "packages", "agent")
		command.Env = []string{"PATH=" + tools + ":/usr/bin:/bin"}
		output, _ := command.CombinedOutput() // on a refusal, the output is compared
		if !strings.HasSuffix(string(output), want) && !strings.Contains(string(output), want) {
			t.Errorf("%s: %q, want %q", names, output, want)
		}
	}
}
