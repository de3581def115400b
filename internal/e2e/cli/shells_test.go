//go:build linux

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	expect "github.com/Netflix/go-expect"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// sessions are interactive shells: each really sources its script and completes a line.
var sessions = map[string]struct {
	start []string
	setup string // \x07 prints the line as it is
}{
	"bash": {[]string{"bash", "--norc", "--noprofile", "-i"}, `source <(runnerctl completion bash); bind -x '"\C-g": printf "<%s>" "$READLINE_LINE"'; bind 'set bell-style none'`},
	"zsh":  {[]string{"zsh", "-f", "-i"}, `autoload -Uz compinit; compinit -u -D; source <(runnerctl completion zsh); show() { print -rn -- "<$BUFFER>" }; zle -N show; bindkey '^G' show; unsetopt beep`},
}

func TestCompletionInShells(t *testing.T) {
	api := e2e.Engine(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		e2e.NeedProgram(t, shell)
	}
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0].Name
	for _, file := range []string{"settings.yaml", "folder/inside"} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	completed := map[string]string{
		"runnerctl vers":                               "runnerctl version ",
		"runnerctl up --dr":                            "runnerctl up --dry-run ",
		"runnerctl ps --color al":                      "runnerctl ps --color always ",
		"runnerctl ps --color=al":                      "runnerctl ps --color=always ",
		"runnerctl up --progress q":                    "runnerctl up --progress quiet ",
		"runnerctl exec --root " + name:                "runnerctl exec --root " + runner + " ",
		"runnerctl down --fleet " + name[:len(name)-1]: "runnerctl down --fleet " + name + " ",
		"runnerctl ps --config sett":                   "runnerctl ps --config settings.yaml ",
		"runnerctl build --out fol":                    "runnerctl build --out folder/",
		"runnerctl cp " + name:                         "runnerctl cp " + runner + ":",
		"runnerctl cp sett":                            "runnerctl cp settings.yaml ",
		"runnerctl logs --source=docke":                "runnerctl logs --source=dockerd ",
		"runnerctl logs " + name:                       "runnerctl logs " + runner + " ",
		"runnerctl exec nosuch-":                       "runnerctl exec nosuch-",
		"runnerctl host dr":                            "runnerctl host drain ",
		"runnerctl host prepare --dr":                  "runnerctl host prepare --dry-run ",
		"runnerctl help host cl":                       "runnerctl help host cloud-init ",
	}
	for shell, session := range sessions {
		t.Run(shell, func(t *testing.T) {
			person, seen := startShell(t, session.start...)
			press(t, person, session.setup+"; echo rea'dy'\n")
			wait(t, person, seen, "ready")
			for typed, want := range completed {
				press(t, person, typed+"\t\x07")
				wait(t, person, seen, "<"+want+">")
				press(t, person, "\x15")
			}
		})
	}
	t.Run("fish", func(t *testing.T) {
		for typed, want := range completed {
			words := strings.Fields(typed)
			command := exec.Command("fish", "--no-config", "-c", `source (runnerctl completion fish | psub); complete -C $argv[1]`, typed)
			command.Env = append(os.Environ(), "HOME="+t.TempDir())
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", typed, err, output)
			}
			first, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\t")
			if typed == want {
				if len(output) > 0 {
					t.Errorf("%s: %q, want nothing", typed, output)
				}
				continue
			}
			line := strings.Join(append(words[:len(words)-1], first), " ")
			if line != strings.TrimSpace(want) {
				t.Errorf("%s: got %q, want %q\n%s", typed, line, want, output)
			}
		}
	})
}

func startShell(t *testing.T, start ...string) (*expect.Console, *e2e.Screen) {
	t.Helper()
	seen := new(e2e.Screen)
	person, err := expect.NewConsole(expect.WithDefaultTimeout(20*time.Second), expect.WithStdout(seen))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(start[0], start[1:]...)
	command.Env = append(os.Environ(), "TERM=xterm", "HOME="+t.TempDir(), "PS1=$ ")
	command.Stdin, command.Stdout, command.Stderr = person.Tty(), person.Tty(), person.Tty()
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = person.Close()
	})
	return person, seen
}

func press(t *testing.T, person *expect.Console, keys string) {
	t.Helper()
	if _, err := person.Send(keys); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, person *expect.Console, seen *e2e.Screen, text string) {
	t.Helper()
	if _, err := person.ExpectString(text); err != nil {
		t.Fatalf("%s: %v\n%s", text, err, seen)
	}
}
