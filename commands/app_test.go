package commands

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestFlagsFirst(t *testing.T) {
	app := newApp(deps{})
	tests := []struct{ in, want string }{
		{"runnerctl up --count 3", "runnerctl up --count 3"},
		{"runnerctl up x --count 3 --dry-run", "runnerctl up --count 3 --dry-run x"},
		{"runnerctl up x --count=3", "runnerctl up --count=3 x"},
		{"runnerctl ps x -q", "runnerctl ps -q x"},
		{"runnerctl exec a --root -- ls -c x", "runnerctl exec --root a -- ls -c x"},
		{"runnerctl exec a sh -c x", "runnerctl exec a sh -c x"},
		{"runnerctl exec --root a sh -c x", "runnerctl exec --root a sh -c x"},
		{"runnerctl", "runnerctl"},
		{"runnerctl nosuch -x", "runnerctl nosuch -x"},
	}
	for _, test := range tests {
		if got := flagsFirst(app, strings.Fields(test.in)); !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%s: got %v", test.in, got)
		}
	}
}

// Whatever is wrong with a command line: code 2, nothing on stdout, and a line
// that says what and where to look.
func TestUsageErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	tests := map[string]string{
		"nosuch":                `unknown command "nosuch"`,
		"pss":                   `unknown command "pss": did you mean "ps"?`,
		"xx":                    `unknown command "xx"` + "\n",
		"up --nosuch":           "unknown flag --nosuch\n",
		"up --conut 3":          "unknown flag --conut: did you mean --count?",
		"up -x":                 "unknown flag -x\n",
		"--count 3 up":          "unknown flag --count: flags come after the command",
		"--vresion":             "unknown flag --vresion: did you mean --version?",
		"up --count three":      `--count "three": expected a whole number`,
		"up --count":            "--count: a value is needed",
		"up --timeout soon":     `--timeout "soon": expected a duration like 60s or 2m`,
		"up --dry-run=maybe":    `--dry-run "maybe": expected true or false`,
		"completion":            "a shell is needed: bash, zsh or fish",
		"completion tcsh":       "a shell is needed: bash, zsh or fish",
		"up --count 0":          "runners.count: 0: expected 1 to 200",
		"up --count -1":         "runners.count: -1: expected 1 to 200",
		"up --count 10000":      "runners.count: 10000: expected 1 to 200",
		"up extra":              `unexpected argument "extra"`,
		"up --progress loud":    `--progress "loud"`,
		"ps -o yaml":            `--output "yaml": table or json`,
		"ps --fleet A_B":        `name: "A_B"`,
		"ps -c nosuch.yaml":     "nosuch.yaml",
		"down extra --all":      `unexpected argument "extra"`,
		"build extra":           `unexpected argument "extra"`,
		"doctor --color pink":   `--color "pink"`,
		"exec":                  "a runner's name and a command are needed",
		"exec ci-1":             "a runner's name and a command are needed",
		"init":                  "give --target, or --yes",
		"init --target x --yes": "--target: ",
		"init --yes --count 0":  "runners.count: 0",
		"init --target= --base debian:trixie-slim": "give --count, or --yes",
		"version extra": `unexpected argument "extra"`,
		"demo extra":    `unexpected argument "extra"`,
		"man extra":     `unexpected argument "extra"`,
		"help up extra": `unexpected argument "extra"`,
	}
	for line, want := range tests {
		code, stdout, stderr := runnerctl(context.Background(), strings.Fields(line)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, stdout %q, stderr %q, want %q", line, code, stdout, stderr, want)
		}
	}
}

func TestNoEngine(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, command := range []string{"ps", "down", "build"} {
		if code, _, stderr := runnerctl(t.Context(), command); code != exitFailure || !strings.Contains(stderr, "hint") {
			t.Errorf("%s: code %d: %s", command, code, stderr)
		}
	}
	for _, command := range []string{"doctor", "up"} {
		if code, stdout, stderr := runnerctl(t.Context(), command); code != exitFailure || !strings.Contains(stdout+stderr, "✘ engine.reachable") {
			t.Errorf("%s: code %d: %s%s", command, code, stdout, stderr)
		}
	}
}
