//go:build linux

package github

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/ghsim"
)

// operators run up, each with the exit code and words of the error.
var operators = []struct {
	name   string
	target string
	set    func(*testing.T, *ghsim.Server)
	args   []string
	code   int
	want   string
}{
	{"no token", "acme/api", func(t *testing.T, _ *ghsim.Server) { t.Setenv("RUNNERCTL_TOKEN", "") }, nil, commands.ExitAuth, "set RUNNERCTL_TOKEN"},
	{"an expired token", "acme/api", func(t *testing.T, s *ghsim.Server) { t.Setenv("RUNNERCTL_TOKEN", s.ClassicToken(-time.Hour, "repo")) }, nil, commands.ExitAuth, "the token in $RUNNERCTL_TOKEN is not valid"},
	{"a token without rights", "acme", func(t *testing.T, s *ghsim.Server) { t.Setenv("RUNNERCTL_TOKEN", s.ClassicToken(time.Hour, "gist")) }, nil, commands.ExitAuth, "needs the scope admin:org"},
	{"a repository that is not there", "acme/nosuch", nil, nil, commands.ExitAuth, "repository acme/nosuch does not exist, or the token in $RUNNERCTL_TOKEN may not see it"},
	{"GITHUB_TOKEN", "acme/api", func(t *testing.T, s *ghsim.Server) {
		t.Setenv("RUNNERCTL_TOKEN", "")
		t.Setenv("GITHUB_TOKEN", s.ClassicToken(-time.Hour))
	}, nil, commands.ExitAuth, "the token in $GITHUB_TOKEN is not valid"},
	{"a token file", "acme/api", func(t *testing.T, _ *ghsim.Server) { e2e.WriteFile(t, "token", "ghp_wrong\n") }, []string{"--token-file", "token"}, commands.ExitAuth, "the token in token is not valid"},
	{"a token file that is none", "acme/api", func(t *testing.T, _ *ghsim.Server) { e2e.WriteFile(t, "token", "two words") }, []string{"--token-file", "token"}, commands.ExitUsage, "expected one word"},
	{"a group that is not there", "acme", func(t *testing.T, s *ghsim.Server) {
		s.AddGroup("orgs/acme", "builders")
		e2e.WriteSettings(t, s, "acme", "runners: {group: bilders}")
	}, nil, commands.ExitFailure, "it has Default, builders"},
	{"a public repository", "acme/open", func(_ *testing.T, s *ghsim.Server) { s.AddRepository("acme/open", ghsim.Public) }, nil, commands.ExitFailure, "forks of your public repository can potentially run dangerous code"},
	{"a public repository, allowed", "acme/open", func(_ *testing.T, s *ghsim.Server) { s.AddRepository("acme/open", ghsim.Public) }, []string{"--allow-public-repo"}, commands.ExitFailure, "nosuch.sock"},
	{"a target that is none", "acme/api", nil, []string{"--target", "https://github.com"}, commands.ExitUsage, "expected https://github.com/OWNER/REPO"},
	{"an App on a machine whose clock is off", "acme", func(t *testing.T, s *ghsim.Server) {
		withApp(t, s, "acme")
		s.SetClockOffset(10 * time.Minute)
	}, nil, commands.ExitAuth, "behind GitHub's"},
	{"an App that is not installed", "other/api", func(t *testing.T, s *ghsim.Server) {
		s.AddRepository("other/api", ghsim.Private)
		withApp(t, s, "other/api")
	}, nil, commands.ExitAuth, "the GitHub App"},
	{"an App", "acme", func(t *testing.T, s *ghsim.Server) { withApp(t, s, "acme") }, nil, commands.ExitFailure, "nosuch.sock"},
	{"faults that pass", "acme/api", func(_ *testing.T, s *ghsim.Server) {
		s.Inject(ghsim.BadGateway("GET /repos/acme/api/actions/runners", 1))
		s.Inject(ghsim.SecondaryLimit("GET /repos/acme/api", 1, time.Second))
		s.Inject(ghsim.Fault{Match: "GET /repos/acme/api/actions/runners", Times: 1, Drop: ghsim.DropBefore})
	}, nil, commands.ExitFailure, "nosuch.sock"},
	{"a limit that lasts", "acme/api", func(_ *testing.T, s *ghsim.Server) {
		s.Inject(ghsim.SecondaryLimit("GET /repos/acme/api/actions/runners", 0, time.Hour))
	}, nil, commands.ExitFailure, "try again in 1h0m0s"},
}

// An operator who may not register runners gets that error before anything is built or made.
func TestUpAsksGitHubFirst(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	t.Setenv("PATH", t.TempDir()) // no gh
	for _, name := range []string{"GITHUB_TOKEN", "GH_TOKEN"} {
		t.Setenv(name, "")
	}
	for _, test := range operators {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			github := e2e.StartGitHub(t, ghsim.Options{})
			e2e.WriteSettings(t, github, test.target)
			if test.set != nil {
				test.set(t, github)
			}
			code, stdout, stderr := e2e.Runnerctl(t.Context(), append([]string{"up"}, test.args...)...)
			if code != test.code || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q", code, test.code, stdout, stderr, test.want)
			}
			if strings.Contains(stderr, os.Getenv("RUNNERCTL_TOKEN")) && os.Getenv("RUNNERCTL_TOKEN") != "" {
				t.Errorf("stderr has the token, want it hidden:\n%s", stderr)
			}
			if left := github.Runners(); len(left) > 0 {
				t.Errorf("registered: %v, want none", left)
			}
		})
	}
}

// withApp creates an App, installs it for acme and writes settings that use it.
func withApp(t *testing.T, github *ghsim.Server, target string) {
	t.Helper()
	id, key, err := github.App()
	if err != nil {
		t.Fatal(err)
	}
	github.Install(id, "acme", ghsim.RunnerPermissions())
	e2e.WriteFile(t, "app.pem", string(key))
	t.Setenv("RUNNERCTL_TOKEN", "")
	e2e.WriteSettings(t, github, target, fmt.Sprintf("github: {caFile: ca.pem, app: {id: %d, keyFile: app.pem}}", id))
}

func TestGhTokenIsTheLast(t *testing.T) {
	t.Chdir(t.TempDir())
	github := e2e.StartGitHub(t, ghsim.Options{})
	e2e.WriteSettings(t, github, "acme/api")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "gh"), []byte("#!/bin/sh\n[ \"$*\" = \"auth token --hostname "+strings.TrimPrefix(github.URL, "https://")+"\" ] && echo "+os.Getenv("RUNNERCTL_TOKEN")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, name := range []string{"RUNNERCTL_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"} {
		t.Setenv(name, "")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "up"); code != commands.ExitFailure || !strings.Contains(stderr, "nosuch.sock") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "nosuch.sock")
	}
	if asked := github.Requests(); len(asked) == 0 || slices.ContainsFunc(asked, func(one ghsim.Request) bool { return one.Status != 200 }) {
		t.Errorf("requests: %+v, want some, each answered with 200", asked)
	}
}
