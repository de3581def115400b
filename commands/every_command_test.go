package commands_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/cmdline"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/session"
)

// operatorsCommand is a command that an operator sees, by its whole name.
type operatorsCommand struct {
	*cli.Command
	name string
}

func (c operatorsCommand) words(more ...string) []string {
	return append(strings.Fields(c.name), more...)
}

// visible returns the commands that an operator sees, and their verbs. A rule for one must hold
// for all, including future ones.
func visible(t *testing.T) (all []operatorsCommand) {
	t.Helper()
	var add func(commands []*cli.Command, before string)
	add = func(commands []*cli.Command, before string) {
		for _, command := range commands {
			if !command.Hidden {
				all = append(all, operatorsCommand{command, before + command.Name})
				add(command.Subcommands, before+command.Name+" ")
			}
		}
	}
	add(commands.NewApp(session.Session{}).Commands, "")
	if len(all) < 10 {
		t.Fatalf("%d commands only, want 10 at least", len(all))
	}
	return all
}

func TestEveryCommandHasHelp(t *testing.T) {
	_, overview, _ := e2e.Runnerctl(t.Context())
	for _, command := range visible(t) {
		code, stdout, stderr := e2e.Runnerctl(t.Context(), command.words("--help")...)
		_, examples, _ := strings.Cut(stdout, "\nExamples:\n")
		if code != 0 || stderr != "" || strings.Count(examples, "runnerctl "+command.name) < 2 {
			t.Errorf("%s --help: code %d, two examples wanted\n%s%s", command.name, code, stdout, stderr)
		}
		if code, same, _ := e2e.Runnerctl(t.Context(), append([]string{"help"}, command.words()...)...); code != 0 || same != stdout {
			t.Errorf("help %s: code %d, want 0\n%s\nwant the same as --help\n%s", command.name, code, same, stdout)
		}
		for _, flag := range command.VisibleFlags() {
			if term := cmdline.FlagDefinition(flag).Term; !strings.Contains(stdout, "\n  "+term) {
				t.Errorf("%s --help:\n%s\nwant %q", command.name, stdout, term)
			}
		}
		in := overview
		if group, _, isVerb := strings.Cut(command.name, " "); isVerb {
			_, in, _ = e2e.Runnerctl(t.Context(), group, "--help")
		}
		if strings.Count(in, "\n  "+command.Name+" ") != 1 {
			t.Errorf("%s is not once in the overview\n%s", command.name, in)
		}
	}
}

// misplaced returns a command line with the flags after the positional arguments, but before
// the words of another program.
func misplaced(command operatorsCommand, flags ...string) []string {
	line := command.words()
	switch {
	case strings.HasPrefix(command.ArgsUsage, "NAME -- CMD"):
		return append(append(line, "ci-aaaa"), append(flags, "--", "true")...)
	case strings.Contains(command.ArgsUsage, "CMD"):
		return append(append(line, flags...), "--", "true")
	}
	return append(append(line, "ci-aaaa"), flags...)
}

// A flag after a positional argument is read; urfave/cli would drop it.
func TestEveryCommandReadsFlagsAfterArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, command := range visible(t) {
		for problem, flags := range map[string][]string{
			"unknown flag --nosuch":                          {"--nosuch"},
			`--color "pink": expected auto, always or never`: {"--color", "pink"},
			`--color "gray": expected auto, always or never`: {"--color=gray"},
			"--color: a value is required":                   {"--color"},
			"unknown flag --colour: did you mean --color":    {"--colour", "always"},
		} {
			line := misplaced(command, flags...)
			if code, stdout, stderr := e2e.Runnerctl(t.Context(), line...); code != commands.ExitUsage || stdout != "" || !strings.Contains(stderr, problem) {
				t.Errorf("%s: code %d, want %q: %s%s", strings.Join(line, " "), code, problem, stdout, stderr)
			}
		}
	}
}

// Output to a pipe or a file has no control characters. Color is used only on request, also
// in errors.
func TestEveryCommandColoursWhenAsked(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, command := range visible(t) {
		for _, line := range [][]string{command.words("--help"), misplaced(command), misplaced(command, "--nosuch")} {
			_, stdout, stderr := e2e.Runnerctl(t.Context(), line...)
			if strings.ContainsFunc(stdout+stderr, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
				t.Errorf("%s: control characters: %q", strings.Join(line, " "), stdout+stderr)
			}
		}
		for _, flags := range [][]string{{"--color", "always", "--nosuch"}, {"--nosuch", "--color=always"}} {
			if _, _, stderr := e2e.Runnerctl(t.Context(), misplaced(command, flags...)...); !strings.HasPrefix(stderr, "\x1b[31merror:") {
				t.Errorf("%s %v: no colour: %q", command.name, flags, stderr)
			}
		}
	}
}

// The man page contains everything that help prints, and groff accepts it without a warning.
func TestManPage(t *testing.T) {
	page := e2e.Must(t, "man")
	for _, command := range visible(t) {
		_, section, found := strings.Cut(page, "\n.SS runnerctl "+cmdline.Roff(command.name)+" ")
		if !found {
			t.Errorf("no %s", command.name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n.S")
		for _, flag := range command.VisibleFlags() {
			if term := cmdline.Roff(cmdline.FlagDefinition(flag).Term); !strings.Contains(section, "\n.B "+term+"\n") {
				t.Errorf("%s:\n%s\nwant %q", command.name, section, term)
			}
		}
	}
	e2e.NeedProgram(t, "groff")
	command := exec.Command("groff", "-man", "-Tutf8", "-ww", "-P-cbou")
	command.Stdin = strings.NewReader(page)
	var warnings strings.Builder
	command.Stderr = &warnings
	text, err := command.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("groff: %v\n%s\nwant no warnings", err, &warnings)
	}
	if !strings.Contains(string(text), "--bootstrap-base") { // other kinds of hyphens can't be pasted
		t.Errorf("the page is\n%s\nwant --bootstrap-base, with hyphens that can be pasted", text)
	}
}

func TestVersion(t *testing.T) {
	t.Chdir(t.TempDir())
	for host, reason := range map[string]string{"unix:///nosuch.sock": "no engine: ", e2e.MuteEngine(t): "did not answer within " + commands.VersionLimit.String()} {
		t.Setenv("DOCKER_HOST", host)
		code, stdout, stderr := e2e.Runnerctl(t.Context(), "version")
		if code != 0 || !strings.HasPrefix(strings.TrimSpace(stdout), "runnerctl  "+commands.Version) || !strings.Contains(stderr, reason) {
			t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s\nwant %q and %q", code, stdout, stderr, "runnerctl  "+commands.Version, reason)
		}
	}
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "version", "-o", "json")
	if code != 0 || stderr != "" || !strings.Contains(stdout, `"engine": null`) || !strings.Contains(stdout, `"image": null`) || !strings.Contains(stdout, fmt.Sprintf(`"version": %q`, commands.Version)) {
		t.Errorf("exit code %d, want 0; stdout:\n%s\nstderr:\n%s\nwant %q, %q and %q, and nothing on stderr", code, stdout, stderr, `"engine": null`, `"image": null`, fmt.Sprintf(`"version": %q`, commands.Version))
	}
}
