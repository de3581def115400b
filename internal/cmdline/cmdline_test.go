package cmdline

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// fleetApp is a command line with a plain command, and with a command that has verbs. ran is the
// name of the command that ran, with its arguments.
func fleetApp(t *testing.T) (app *App, ran *[]string) {
	t.Helper()
	ran = new([]string)
	note := func(c *cli.Context) error {
		*ran = append([]string{CommandName(c)}, c.Args().Slice()...)
		return NoArguments(c)
	}
	color := func() cli.Flag { return &cli.StringFlag{Name: "color", Usage: "use color `WHEN`"} }
	return New(&cli.App{Name: program, Usage: "test", Writer: io.Discard, ErrWriter: io.Discard}, []Command{
		{Command: &cli.Command{Name: "up", Usage: "start", Flags: []cli.Flag{color(), &cli.IntFlag{Name: "count"}}, Action: note}},
		{Command: &cli.Command{Name: "host", Usage: "care for hosts", Description: "Examples:\n   runnerctl host ls", Flags: []cli.Flag{color()}}, Verbs: []Command{
			{Command: &cli.Command{Name: "ls", Usage: "list hosts", Flags: []cli.Flag{color()}, Action: note}},
			{
				Command: &cli.Command{Name: "drain", Aliases: []string{"empty"}, Usage: "empty a host", ArgsUsage: "NAME", Flags: []cli.Flag{
					color(), &cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "cancel jobs", EnvVars: []string{"TEST_FORCE"}}, &cli.DurationFlag{Name: "wait", Usage: "`LIMIT`"},
				}, Before: EmptyBoolean, Action: note},
				Arguments: Candidates{Kind: "hosts", Most: 1},
			},
		}},
	}, []string{"All"}, Text{Precedence: "first"}), ran
}

func TestArrangeVerbs(t *testing.T) {
	app, _ := fleetApp(t)
	for line, want := range map[string]string{
		"host":                        "host",
		"host drain a --wait 5m":      "host drain --wait 5m a",
		"host --wait 5m drain a":      "host drain --wait 5m a",
		"host --wait=5m -f drain a":   "host drain --wait=5m -f a",
		"host empty a -f":             "host empty -f a",
		"host drain ls":               "host drain ls",
		"host --color drain ls":       "host ls --color drain",
		"host drain a -- --force":     "host drain -- a --force",
		"host nosuch drain --color x": "host --color x nosuch drain",
		"host -- drain a":             "host -- drain a",
		"up host --count 3":           "up --count 3 host",
		"host drain a --help":         "help host drain",
		"host -h drain":               "help host drain",
		"-h host drain":               "help host drain",
		"-h host a drain":             "help host",
		"-h nosuch drain":             "help nosuch",
	} {
		got := app.Arrange(append([]string{program}, strings.Fields(line)...))
		if want := append([]string{program}, strings.Fields(want)...); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	for line, want := range map[string]string{"host drain a --wait 5m": "5m", "host --wait 7m drain": "7m", "host ls": ""} {
		if got := app.FlagValue(append([]string{program}, strings.Fields(line)...), "wait"); got != want {
			t.Errorf("--wait in %s: got %q, want %q", line, got, want)
		}
	}
}

func TestVerbsRun(t *testing.T) {
	for line, want := range map[string]string{"up": "up", "host ls": "host ls", "host --force drain": "host drain"} {
		app, ran := fleetApp(t)
		if err := app.Run(app.Arrange(append([]string{program}, strings.Fields(line)...))); err != nil || !slices.Equal(*ran, []string{want}) {
			t.Errorf("%s: ran %q, %v, want %q", line, *ran, err, want)
		}
	}
}

func TestMistakesWithVerbs(t *testing.T) {
	t.Setenv("TEST_FORCE", "")
	for line, want := range map[string]UsageError{
		"host":                     {"host", "specify an action: drain, ls"},
		"host nosuch":              {"host", "specify an action: drain, ls"},
		"host --colour x":          {"host", "unknown flag --colour: did you mean --color?"},
		"host --force":             {"host", "unknown flag --force: it belongs to host drain"},
		"host ls --force":          {"host ls", "unknown flag --force: it belongs to host drain"},
		"host ls --count 3":        {"host ls", "unknown flag --count"},
		"host ls a":                {"host ls", `unexpected argument "a"`},
		"host drain a --wait":      {"host drain", "--wait: a value is required"},
		"host drain a --wait soon": {"host drain", `--wait "soon": expected a duration like 60s or 2m`},
		"host drain":               {"host drain", "$TEST_FORCE is empty: expected true or false, or unset"},
		"--wait 5m":                {"", "unknown flag --wait: flags come after the command"},
	} {
		app, _ := fleetApp(t)
		err := app.Run(app.Arrange(append([]string{program}, strings.Fields(line)...)))
		var wrong *UsageError
		if !errors.As(err, &wrong) || *wrong != want {
			t.Errorf("%s: got %#v, want %#v", line, err, want)
		}
	}
}

func TestHelpOfVerbs(t *testing.T) {
	app, _ := fleetApp(t)
	for words, want := range map[string]string{
		"host":       "Usage: runnerctl host COMMAND [flags]\n\nCare for hosts.\n\nExamples:\n   runnerctl host ls\n\nCommands\n  ls            list hosts\n  drain         empty a host\n\nFlags\n  --color WHEN  use color WHEN\n",
		"host empty": "Usage: runnerctl host drain [flags] NAME\n\nEmpty a host.\n\nFlags\n  --color WHEN  use color WHEN\n  -f, --force   cancel jobs [$TEST_FORCE]\n  --wait LIMIT  LIMIT\n",
	} {
		var text bytes.Buffer
		if err := app.WriteHelp(&text, strings.Fields(words)); err != nil || text.String() != want {
			t.Errorf("%s: %v, got\n%q\nwant\n%q", words, err, text.String(), want)
		}
	}
	for words, want := range map[string]UsageError{
		"hots":             {"", `unknown command "hots": did you mean "host"?`},
		"host drian":       {"host", `unknown command "host drian": did you mean "drain"?`},
		"host drain again": {"help", `unexpected argument "again"`},
		"up again":         {"help", `unexpected argument "again"`},
	} {
		var wrong *UsageError
		if err := app.WriteHelp(io.Discard, strings.Fields(words)); !errors.As(err, &wrong) || *wrong != want {
			t.Errorf("help %s: got %#v, want %#v", words, err, want)
		}
	}
	var page bytes.Buffer
	app.WriteMan(&page)
	for _, want := range []string{".SS runnerctl host COMMAND [flags]\nCare for hosts.\n", ".SS runnerctl host ls [flags]\nList hosts.\n", ".SS runnerctl host drain [flags] NAME\nEmpty a host.\n.TP\n.B \\-\\-color WHEN\n"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the man page is\n%s\nwant %q", page.String(), want)
		}
	}
}

func TestCompleteVerbs(t *testing.T) {
	app, _ := fleetApp(t)
	for line, want := range map[string]string{
		"host ":                 "ls drain",
		"host l":                "ls",
		"host --":               "--color --help",
		"host nosuch ":          "",
		"host --wait 5m ":       "ls drain",
		"host drain ":           "vm1 vm2",
		"host drain vm1 ":       "",
		"host empty vm2":        "vm2",
		"host --wait 5m drain ": "vm1 vm2",
		"host drain --f":        "--force",
		"host ls ":              "",
	} {
		var got []string
		for _, one := range app.Complete(strings.Split(line, " "), func(string) []string { return []string{"vm1", "vm2"} }) {
			got = append(got, one.Term)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
