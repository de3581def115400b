//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("TEST_CONFIGURE") != "" {
		os.Exit(run("machine", []string{"configure"}))
	}
	os.Exit(m.Run())
}

// While a registration asks GitHub, its standard input is /dev/null: a closed one would become
// another file, like the runtime's epoll.
func TestConfigureKeepsItsStandardInput(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program)
	var input string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		input, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/0", command.Process.Pid))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	settings := fmt.Sprintf(`RUNNERCTL_SETTINGS={"agent":{"mode":"access","url":"%s/acme/api","name":"x","api":"%[1]s/repos/acme/api"}}`, server.URL)
	command.Env, command.Stdin = []string{"TEST_CONFIGURE=1", settings}, strings.NewReader("ghp_good\n")
	out, err := command.CombinedOutput()
	if err == nil || command.ProcessState.ExitCode() != 78 || input != os.DevNull {
		t.Errorf("%v, standard input is %q, want code 78 and %s\n%s", err, input, os.DevNull, out)
	}
}

func TestCommandLines(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, test := range []struct {
		name      string
		arguments []string
		code      int
	}{
		{"exec", []string{"true"}, 125}, // no machine
		{"exec", []string{"--interrupt", "ABC"}, 1},
		{"exec", []string{"--interrupt"}, 2},
		{"status", nil, 0},
		{"machine", []string{"unknown"}, 2},
		{"machine", []string{"cleaner"}, 2},
		{"machine", []string{"try-nothing"}, 0},
	} {
		if code := run(test.name, test.arguments); code != test.code {
			t.Errorf("%s %v: code %d, want %d", test.name, test.arguments, code, test.code)
		}
	}
	t.Setenv("RUNNERCTL_EXEC", "../x")
	if code := run("exec", []string{"true"}); code != 2 {
		t.Errorf("an id that is none: code %d, want 2", code)
	}
	t.Setenv("RUNNERCTL_EXEC", "A1")
	t.Setenv("RUNNERCTL_TERMINAL_SIZE", "wide")
	if code := run("exec", []string{"--tty", "true"}); code != 2 {
		t.Errorf("a size that is none: code %d, want 2", code)
	}
}
