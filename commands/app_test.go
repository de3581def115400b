package commands_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestFlagsFirst(t *testing.T) {
	app := commands.NewApp(session.Session{})
	tests := []struct{ in, want string }{
		{"runnerctl up --count 3", "runnerctl up --count 3"},
		{"runnerctl up x --count 3 --dry-run", "runnerctl up --count 3 --dry-run x"},
		{"runnerctl up x --count=3", "runnerctl up --count=3 x"},
		{"runnerctl ps x -q", "runnerctl ps -q x"},
		{"runnerctl exec a --root -- ls -c x", "runnerctl exec --root a -- ls -c x"},
		{"runnerctl exec a sh -c x", "runnerctl exec a sh -c x"},
		{"runnerctl exec --root a sh -c x", "runnerctl exec --root a sh -c x"},
		{"runnerctl run --keep -- ls -l", "runnerctl run --keep -- ls -l"},
		{"runnerctl run ls -l --keep", "runnerctl run ls -l --keep"},
		{"runnerctl run --copy src:x sh -c true", "runnerctl run --copy src:x sh -c true"},
		{"runnerctl logs a -f b --tail 3", "runnerctl logs -f --tail 3 a b"},
		{"runnerctl cp - a:x --root", "runnerctl cp --root - a:x"},
		{"runnerctl cp a:x --root -- -x", "runnerctl cp --root -- a:x -x"},
		{"runnerctl logs a -- -b --tail", "runnerctl logs -- a -b --tail"},
		{"runnerctl logs a -ft", "runnerctl logs -f -t a"},
		{"runnerctl logs a -tojson", "runnerctl logs -t -o json a"},
		{"runnerctl logs a -to json", "runnerctl logs -t -o json a"},
		{"runnerctl logs a -ccount b", "runnerctl logs -c count a b"},
		{"runnerctl logs -fx a", "runnerctl logs -fx a"},
		{"runnerctl logs a -follow -o=json", "runnerctl logs -follow -o=json a"},
		{"runnerctl inspect a -o json", "runnerctl inspect -o json a"},
		{"runnerctl host drain vm2 --wait 5m", "runnerctl host drain --wait 5m vm2"},
		{"runnerctl host --wait 5m drain vm2", "runnerctl host drain --wait 5m vm2"},
		{"runnerctl host -c a.yaml ls -ojson", "runnerctl host ls -c a.yaml -o json"},
		{"runnerctl host nosuch --color never", "runnerctl host --color never nosuch"},
		{"runnerctl host drain vm2 --help", "runnerctl help host drain"},
		{"runnerctl host --help drain vm2", "runnerctl help host drain"},
		{"runnerctl host --help", "runnerctl help host"},
		{"runnerctl --help host drain vm2", "runnerctl help host drain"},
		{"runnerctl -h host nosuch", "runnerctl help host"},
		{"runnerctl up x --help", "runnerctl help up"},
		{"runnerctl", "runnerctl"},
		{"runnerctl nosuch -x", "runnerctl nosuch -x"},
	}
	for _, test := range tests {
		if got := app.Arrange(strings.Fields(test.in)); !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%s: got %v, want %v", test.in, got, strings.Fields(test.want))
		}
	}
}

// usageErrors are command lines with a mistake, each with words of its error.
var usageErrors = map[string]string{
	"nosuch":                      `unknown command "nosuch"`,
	"pss":                         `unknown command "pss": did you mean "ps"?`,
	"xx":                          `unknown command "xx"` + "\n",
	"up --nosuch":                 "unknown flag --nosuch\n",
	"export kubernetes":           "--image is required",
	"export kubernetes --image a": "--out is required",
	"export kubernetes --image a --out b --tun magic":         "--tun magic: expected runtime-class or device-plugin",
	"export kubernetes --image a --out b --tun device-plugin": "--tun device-plugin and --plugin-image belong together",
	"export kubernetes --image a --out b --plugin-image c":    "--tun device-plugin and --plugin-image belong together",
	"up --conut 3":                   "unknown flag --conut: did you mean --count?",
	"up -x":                          "unknown flag -x\n",
	"--count 3 up":                   "unknown flag --count: flags come after the command",
	"--vresion":                      "unknown flag --vresion: did you mean --version?",
	"up --count three":               `--count "three": expected a whole number`,
	"up --count":                     "--count: a value is required",
	"up --timeout soon":              `--timeout "soon": expected a duration like 60s or 2m`,
	"up --dry-run=maybe":             `--dry-run "maybe": expected true or false`,
	"completion":                     "specify a shell: bash, zsh or fish",
	"completion tcsh":                "specify a shell: bash, zsh or fish",
	"up --count 0":                   "runners.count: 0: expected 1 to 200",
	"up --count -1":                  "runners.count: -1: expected 1 to 200",
	"up --count 10000":               "runners.count: 10000: expected 1 to 200",
	"up extra":                       `unexpected argument "extra"`,
	"up --progress loud":             `--progress "loud"`,
	"ps -o yaml":                     `--output "yaml": expected table or json`,
	"ps --fleet A_B":                 `--fleet "A_B"`,
	"ps -c nosuch.yaml":              "nosuch.yaml",
	"down extra --all":               `unexpected argument "extra"`,
	"build extra":                    `unexpected argument "extra"`,
	"doctor --color pink":            `--color "pink"`,
	"exec":                           "specify a runner and a command",
	"cache rm":                       "specify at least one ID",
	"cache warm":                     "specify an action or a tool",
	"cache ls extra":                 `unexpected argument "extra"`,
	"cache prune":                    "no terminal for the confirmation: use --yes",
	"cache prune --unused -1h --yes": "--unused: expected 0s or more",
	"exec ci-1":                      "specify a runner and a command",
	"init":                           "use --target, or --yes",
	"init --target x --yes":          "--target: ",
	"init --yes --count 0":           "runners.count: 0",
	"init --target= --base debian:trixie-slim": "use --count, or --yes",
	"logs --tail -1":                        "--tail -1: expected 0 or more",
	"logs a --source kernel":                `--source "kernel": expected start, containerd, dockerd, agent, diagnostics`,
	"logs --since yesterday":                `--since "yesterday"`,
	"logs -o yaml":                          `--output "yaml"`,
	"logs --color pink":                     `--color "pink"`,
	"run":                                   "a command is needed",
	"run --":                                "a command is needed",
	"run --copy nosuch -- true":             "--copy nosuch: ",
	"run --progress loud -- true":           `--progress "loud"`,
	"cp":                                    "specify a source and a destination",
	"cp ci-1:a":                             "specify a source and a destination",
	"cp a b":                                "the source or the destination must be in a runner",
	"cp ci-1:a ci-2:b":                      "the source or the destination must be on this machine",
	"cp ci-1:a b --nosuch":                  "unknown flag --nosuch",
	"inspect":                               "specify one runner",
	"inspect a b":                           "specify one runner",
	"inspect a -o yaml":                     `--output "yaml"`,
	"prune":                                 "no terminal for the confirmation: use --yes, or --dry-run",
	"prune extra --yes":                     `unexpected argument "extra"`,
	"supervise extra":                       `unexpected argument "extra"`,
	"supervise --log-format pink":           `--log-format "pink": text or json`,
	"supervise --metrics-address 0.0.0.0:9": `--metrics-address "0.0.0.0:9": expected a loopback address`,
	"events extra":                          `unexpected argument "extra"`,
	"events -o yaml":                        `--output "yaml"`,
	"version extra":                         `unexpected argument "extra"`,
	"demo extra":                            `unexpected argument "extra"`,
	"man extra":                             `unexpected argument "extra"`,
	"help up extra":                         `unexpected argument "extra"`,
	"help host drain extra":                 `unexpected argument "extra"`,
	"help host drian":                       `unknown command "host drian": did you mean "drain"?`,
	"host":                                  "specify an action: cloud-init, drain, ls, prepare\n  hint   see 'runnerctl host --help'",
	"host nosuch":                           "specify an action: cloud-init, drain, ls, prepare",
	"host --color never":                    "specify an action: cloud-init, drain, ls, prepare",
	"host ls extra":                         `unexpected argument "extra"` + "\n  hint   see 'runnerctl host ls --help'",
	"host ls -o yaml":                       `--output "yaml": expected table or json`,
	"host ls --force":                       "unknown flag --force: it belongs to host drain\n",
	"host drain":                            "specify one host: runnerctl host drain NAME\n  hint   see 'runnerctl host drain --help'",
	"host drain a b":                        "specify one host: runnerctl host drain NAME",
	"host drain nosuch":                     `the settings have no host "nosuch"`,
	"host drain a --dry-run":                "unknown flag --dry-run: it belongs to host prepare\n",
	"host drain a --wait soon":              `--wait "soon": expected a duration like 60s or 2m`,
	"host prepare":                          "specify one machine: runnerctl host prepare ssh://USER@VM",
	"host prepare unix:///x.sock":           "host prepare unix:///x.sock: only ssh:// hosts are supported",
	"host cloud-init --yes":                 "unknown flag --yes: it belongs to host prepare\n",
	"host --allow-metadata ls":              "unknown flag --allow-metadata: it belongs to host prepare, host cloud-init\n",
	"export kubernetes --check --out k8s":   "--check can't be combined with --image or --out\n",
	"--wait 5m host":                        "unknown flag --wait: flags come after the command",
}

// Any mistake in a command line leads to code 2, nothing on stdout, and a line with the
// mistake and where to look.
func TestUsageErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for line, want := range usageErrors {
		code, stdout, stderr := e2e.Runnerctl(context.Background(), strings.Fields(line)...)
		if code != commands.ExitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q", line, code, commands.ExitUsage, stdout, stderr, want)
		}
	}
}

func TestNoEngine(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, command := range [][]string{{"ps"}, {"down"}, {"build"}, {"up"}, {"run", "--", "true"}, {"logs"}, {"prune", "--yes"}, {"cache", "ls"}} {
		code, stdout, stderr := e2e.Runnerctl(t.Context(), command...)
		if code != commands.ExitFailure || stdout != "" || !strings.HasPrefix(stderr, "error: ") || !strings.Contains(stderr, ": Cannot connect to the Docker daemon at unix:///nosuch.sock.") ||
			strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "\n  hint   no Docker Engine answers there: ") {
			t.Errorf("%s: exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant two lines: an error at unix:///nosuch.sock, and a hint", command, code, commands.ExitFailure, stdout, stderr)
		}
	}
	if code, stdout, stderr := e2e.Runnerctl(t.Context(), "doctor"); code != commands.ExitFailure || !strings.Contains(stdout, "✘ engine.reachable") {
		t.Errorf("doctor: exit code %d, want %d; stdout:\n%s\nwant %q; stderr:\n%s", code, commands.ExitFailure, stdout, "✘ engine.reachable", stderr)
	}
}

// fullWriter is a file on a full disk.
type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "report.txt", Err: syscall.ENOSPC}
}

// A failure to write output is an error, and the full disk is not blamed on the engine.
func TestOutputThatCanNotBeWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for _, line := range []string{"version", "version -o json", "man", "help", "completion bash", "up --help"} {
		var errs bytes.Buffer
		s := session.Session{Streams: ui.Streams{In: strings.NewReader(""), Out: fullWriter{}, Err: &errs}, Env: os.Getenv, GOOS: "linux"}
		code := commands.Run(t.Context(), s, append([]string{"runnerctl"}, strings.Fields(line)...))
		if code != commands.ExitFailure || !strings.Contains(errs.String(), "write report.txt: no space left on device\n  hint   no space left on this machine for report.txt\n") {
			t.Errorf("%s: exit code %d, want %d; stderr:\n%s\nwant the full disk of report.txt, with a hint", line, code, commands.ExitFailure, &errs)
		}
	}
}

func TestAddressOfNoEngine(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, one := range []struct{ variable, value, want string }{
		{"DOCKER_HOST", "garbage", "error: engine garbage: not an address\n  hint   DOCKER_HOST accepts "},
		{"DOCKER_HOST", "tcp://", "error: engine tcp://: not an address\n  hint   DOCKER_HOST accepts "},
		{"DOCKER_CONTEXT", "nosuch", "error: docker context \"nosuch\" does not exist\n  hint   docker context ls lists them"},
	} {
		t.Run(one.value, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", "")
			t.Setenv(one.variable, one.value)
			if code, stdout, stderr := e2e.Runnerctl(t.Context(), "ps"); code != commands.ExitFailure || stdout != "" || !strings.HasPrefix(stderr, one.want) {
				t.Errorf("exit code %d, want %d; stdout %q, want none; stderr:\n%s\nwant %q at the beginning", code, commands.ExitFailure, stdout, stderr, one.want)
			}
		})
	}
}

// On macOS and Windows, a local engine is refused before any request, and the message names
// the way out. doctor has the same in its report.
func TestLocalEngineElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix:///nosuch.sock")
	for goos, name := range map[string]string{"darwin": "macOS", "windows": "Windows"} {
		for _, command := range []string{"up", "build", "ps", "down", "doctor"} {
			var out, errs bytes.Buffer
			s := session.Session{Streams: ui.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, Env: os.Getenv, GOOS: goos}
			code := commands.Run(t.Context(), s, []string{"runnerctl", command})
			all := out.String() + errs.String()
			if code != commands.ExitFailure || !strings.Contains(all, name+" has no Linux kernel of its own") || !strings.Contains(all, "DOCKER_HOST=ssh://") {
				t.Errorf("%s %s: exit code %d, want %d; output:\n%s\nwant that %s has no kernel of its own, and DOCKER_HOST=ssh://", goos, command, code, commands.ExitFailure, all, name)
			}
		}
	}
}
