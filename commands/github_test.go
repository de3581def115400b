package commands

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/ghapi"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/session"
)

// startGitHub starts a stand-in and puts a token for it into the environment. up leaves no
// supervisor, since these tests check the runners themselves.
func startGitHub(t *testing.T, options ghsim.Options) *ghsim.Server {
	t.Helper()
	github, err := ghsim.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(github.Close)
	t.Setenv("RUNNERCTL_TOKEN", github.ClassicToken(time.Hour, "repo", "admin:org", "manage_runners:enterprise"))
	t.Setenv("RUNNERCTL_NO_SUPERVISOR", "true")
	return github
}

// newGitHub starts a stand-in and makes it the target of a runnerctl in the working folder.
func newGitHub(t *testing.T, options ghsim.Options, target string, more ...string) *ghsim.Server {
	t.Helper()
	github := startGitHub(t, options)
	writeSettings(t, github, target, more...)
	return github
}

// writeSettings writes settings with the stand-in as target into the working folder.
func writeSettings(t *testing.T, github *ghsim.Server, target string, more ...string) {
	t.Helper()
	text := fmt.Sprintf("target: %s/%s\n%s", github.URL, target, strings.Join(more, "\n"))
	if !strings.Contains(text, "github:") {
		text += "\ngithub: {caFile: ca.pem}\n"
	}
	for file, content := range map[string][]byte{"runnerctl.yaml": []byte(text), "ca.pem": github.CA()} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// operators run up, each with the exit code and words of the error.
var operators = []struct {
	name   string
	target string
	set    func(*testing.T, *ghsim.Server)
	args   []string
	code   int
	want   string
}{
	{"no token", "acme/api", func(t *testing.T, _ *ghsim.Server) { t.Setenv("RUNNERCTL_TOKEN", "") }, nil, exitAuth, "set RUNNERCTL_TOKEN"},
	{"an expired token", "acme/api", func(t *testing.T, s *ghsim.Server) { t.Setenv("RUNNERCTL_TOKEN", s.ClassicToken(-time.Hour, "repo")) }, nil, exitAuth, "the token in $RUNNERCTL_TOKEN is not valid"},
	{"a token without rights", "acme", func(t *testing.T, s *ghsim.Server) { t.Setenv("RUNNERCTL_TOKEN", s.ClassicToken(time.Hour, "gist")) }, nil, exitAuth, "needs the scope admin:org"},
	{"a repository that is not there", "acme/nosuch", nil, nil, exitAuth, "repository acme/nosuch does not exist, or the token in $RUNNERCTL_TOKEN may not see it"},
	{"GITHUB_TOKEN", "acme/api", func(t *testing.T, s *ghsim.Server) {
		t.Setenv("RUNNERCTL_TOKEN", "")
		t.Setenv("GITHUB_TOKEN", s.ClassicToken(-time.Hour))
	}, nil, exitAuth, "the token in $GITHUB_TOKEN is not valid"},
	{"a token file", "acme/api", func(t *testing.T, _ *ghsim.Server) { write(t, "token", "ghp_wrong\n") }, []string{"--token-file", "token"}, exitAuth, "the token in token is not valid"},
	{"a token file that is none", "acme/api", func(t *testing.T, _ *ghsim.Server) { write(t, "token", "two words") }, []string{"--token-file", "token"}, exitUsage, "expected one word"},
	{"a group that is not there", "acme", func(t *testing.T, s *ghsim.Server) {
		s.AddGroup("orgs/acme", "builders")
		writeSettings(t, s, "acme", "runners: {group: bilders}")
	}, nil, exitFailure, "it has Default, builders"},
	{"a public repository", "acme/open", func(_ *testing.T, s *ghsim.Server) { s.AddRepository("acme/open", ghsim.Public) }, nil, exitFailure, "forks of your public repository can potentially run dangerous code"},
	{"a public repository, allowed", "acme/open", func(_ *testing.T, s *ghsim.Server) { s.AddRepository("acme/open", ghsim.Public) }, []string{"--allow-public-repo"}, exitFailure, "nosuch.sock"},
	{"a target that is none", "acme/api", nil, []string{"--target", "https://github.com"}, exitUsage, "expected https://github.com/OWNER/REPO"},
	{"an App on a machine whose clock is off", "acme", func(t *testing.T, s *ghsim.Server) {
		withApp(t, s, "acme")
		s.SetClockOffset(10 * time.Minute)
	}, nil, exitAuth, "behind GitHub's"},
	{"an App that is not installed", "other/api", func(t *testing.T, s *ghsim.Server) {
		s.AddRepository("other/api", ghsim.Private)
		withApp(t, s, "other/api")
	}, nil, exitAuth, "the GitHub App"},
	{"an App", "acme", func(t *testing.T, s *ghsim.Server) { withApp(t, s, "acme") }, nil, exitFailure, "nosuch.sock"},
	{"faults that pass", "acme/api", func(_ *testing.T, s *ghsim.Server) {
		s.Inject(ghsim.BadGateway("GET /repos/acme/api/actions/runners", 1))
		s.Inject(ghsim.SecondaryLimit("GET /repos/acme/api", 1, time.Second))
		s.Inject(ghsim.Fault{Match: "GET /repos/acme/api/actions/runners", Times: 1, Drop: ghsim.DropBefore})
	}, nil, exitFailure, "nosuch.sock"},
	{"a limit that lasts", "acme/api", func(_ *testing.T, s *ghsim.Server) {
		s.Inject(ghsim.SecondaryLimit("GET /repos/acme/api/actions/runners", 0, time.Hour))
	}, nil, exitFailure, "try again in 1h0m0s"},
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
			github := startGitHub(t, ghsim.Options{})
			writeSettings(t, github, test.target)
			if test.set != nil {
				test.set(t, github)
			}
			code, stdout, stderr := runnerctl(t.Context(), append([]string{"up"}, test.args...)...)
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

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
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
	write(t, "app.pem", string(key))
	t.Setenv("RUNNERCTL_TOKEN", "")
	writeSettings(t, github, target, fmt.Sprintf("github: {caFile: ca.pem, app: {id: %d, keyFile: app.pem}}", id))
}

func TestGhTokenIsTheLast(t *testing.T) {
	t.Chdir(t.TempDir())
	github := startGitHub(t, ghsim.Options{})
	writeSettings(t, github, "acme/api")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "gh"), []byte("#!/bin/sh\n[ \"$*\" = \"auth token --hostname "+strings.TrimPrefix(github.URL, "https://")+"\" ] && echo "+os.Getenv("RUNNERCTL_TOKEN")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, name := range []string{"RUNNERCTL_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"} {
		t.Setenv(name, "")
	}
	if code, _, stderr := runnerctl(t.Context(), "up"); code != exitFailure || !strings.Contains(stderr, "nosuch.sock") {
		t.Errorf("exit code %d, want %d; stderr:\n%s\nwant %q", code, exitFailure, stderr, "nosuch.sock")
	}
	if asked := github.Requests(); len(asked) == 0 || slices.ContainsFunc(asked, func(one ghsim.Request) bool { return one.Status != 200 }) {
		t.Errorf("requests: %+v, want some, each answered with 200", asked)
	}
}

// registered returns the names of the runners that the stand-in lists, sorted.
func registered(github *ghsim.Server) (names []string) {
	for _, one := range github.Runners() {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names
}

func await(t *testing.T, github *ghsim.Server, id int64) ghsim.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result, err := github.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// githubOf returns the client for the settings in the working folder.
func githubOf(t *testing.T) *ghapi.Client {
	t.Helper()
	loaded, err := config.Load("runnerctl.yaml")
	if err != nil {
		t.Fatal(err)
	}
	client, err := session.Session{Env: os.Getenv}.Opener().Client(t.Context(), loaded, loaded.Target)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
