package commands_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/commands/flags"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/session"
)

func TestComplete(t *testing.T) {
	app := commands.NewApp(session.Session{})
	lookUp := func(kind string) []string {
		return map[string][]string{flags.RunnerNames: {"ci-7k2p", "ci-9xqd"}, flags.FleetNames: {"blue", "ci"}, flags.HostNames: {"vm1", "vm2"}}[kind]
	}
	for line, want := range map[string]string{
		"ver":                         "version",
		"d":                           "doctor down demo",
		"--v":                         "--version",
		"nosuch ":                     "",
		"up --nosuch":                 "",
		"up --dr":                     "--dry-run",
		"up --progress ":              "auto tty plain quiet",
		"up --progress=p":             "--progress=plain",
		"ps -o j":                     "json",
		"ps --color al":               "always",
		"ps x --color al":             "always",
		"ps --fleet b":                "blue",
		"ps --fleet=":                 "--fleet=blue --fleet=ci",
		"ps -c ":                      ":files",
		"ps --config=run":             ":files",
		"build --out ":                ":folders",
		"up --count ":                 "",
		"up --dry-run=":               "",
		"up ":                         "",
		"exec ":                       "ci-7k2p ci-9xqd",
		"exec --root ci-9":            "ci-9xqd",
		"exec ci-7k2p ":               "",
		"exec ci-7k2p --ro":           "--root",
		"exec ci-7k2p -- --ro":        "",
		"exec ci-7k2p ls --ro":        "",
		"cp ci-7":                     "ci-7k2p: :files",
		"cp ./here ci-9":              "ci-9xqd: :files",
		"cp a b ":                     "",
		"logs ci-7k2p ":               "ci-9xqd",
		"help bu":                     "build",
		"help build ":                 "",
		"help host ":                  "ls drain prepare cloud-init",
		"help host dr":                "drain",
		"help host drain ":            "",
		"host ":                       "ls drain prepare cloud-init",
		"host p":                      "prepare",
		"host -":                      "--color --help",
		"host nosuch ":                "",
		"host drain vm":               "vm1 vm2",
		"host drain vm1 ":             "",
		"host --wait 5m drain ":       "vm1 vm2",
		"host drain --f":              "--fleet --force",
		"host ls -o ":                 "table json",
		"host ls --dry":               "",
		"completion ":                 "bash zsh fish",
		"completion bash ":            "",
		"ps --fleet --color ":         "auto always never",
		"exec --fleet blue ci-7k2p -": "--root --no-tty --config --fleet --host --color --help",
		"up --host v":                 "vm1 vm2",
	} {
		words := strings.Split(line, " ")
		var got []string
		for _, one := range app.Complete(words, lookUp) {
			got = append(got, one.Term)
		}
		wanted := strings.Fields(want)
		slices.Sort(got)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%q: got %v, want %v", line, got, wanted)
		}
	}
}

// Completion offers the values that the flag's own usage names.
func TestCompletedValuesAreTheFlags(t *testing.T) {
	for _, command := range visible(t) {
		for _, flag := range command.VisibleFlags() {
			choice, known := flag.(*cmdline.Choice)
			if !known {
				continue
			}
			for _, value := range choice.Words {
				if usage := cmdline.FlagDefinition(flag).Text; !strings.Contains(usage, value) {
					t.Errorf("%s --%s: %s is not in %q", command.name, flag.Names()[0], value, usage)
				}
			}
		}
	}
}

// Without an engine, completion offers no names and prints no error. It does not wait for a
// slow engine.
func TestCompletionWithoutEngine(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("runnerctl.yaml", []byte("broken: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"unix:///nosuch.sock", "nonsense", e2e.MuteEngine(t)} {
		t.Setenv("DOCKER_HOST", host)
		started := time.Now()
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "__complete", "exec", "")
		if code != 0 || stdout != "" || stderr != "" || time.Since(started) > 5*commands.CompleteLimit {
			t.Errorf("%s: exit code %d after %s, want 0 within %s; stdout %q, stderr %q, want neither", host, code, time.Since(started), 5*commands.CompleteLimit, stdout, stderr)
		}
	}
}
