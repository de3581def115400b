package advice

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/controller"
	"github.com/runnerctl/runnerctl/internal/fleet"
	"github.com/runnerctl/runnerctl/internal/hint"
	"github.com/runnerctl/runnerctl/internal/lifecycle"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

func TestAdd(t *testing.T) {
	_, unread := config.Load("nosuch.yaml")
	none := config.Default()
	none.Runners.Count = 0
	busy := &controller.StillBusyError{Runner: "ci-a"}
	notReady := &fleet.NotReadyError{Runner: "ci-a", Err: hint.Add(errors.New("stuck"), "an inner hint")}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"no advice", errors.New("plain"), ""},
		{"a type", session.NoRunner("ci-a"), "runnerctl ps --all lists them"},
		{"a wrapped type", fmt.Errorf("host a: %w", busy), "runnerctl down again waits on"},
		{"a joined type", fmt.Errorf("%w; before that, %w", errors.New("plain"), busy), "runnerctl down again waits on"},
		{"a hint outside a type", hint.Add(busy, "an outer hint"), "an outer hint"},
		{"a hint inside a type", notReady, "runnerctl up tries again"},
		{"a hint before a type", errors.Join(hint.Add(errors.New("plain"), "the first"), busy), "the first"},
		{"a file that is not there", unread, "runnerctl init creates the file"},
		{"no runners", none.Validate(), "runnerctl down removes every runner"},
		{"a host without runners", &config.Error{Err: &lifecycle.NoneWantedError{Host: "vm2"}}, "runnerctl host drain vm2 removes"},
		{"settings with advice of their own", &config.Error{Advice: "its own"}, "its own"},
		{"a build", &dockerx.BuildError{}, "runnerctl build --print shows"},
		{"a build with advice of its own", &dockerx.BuildError{Advice: "its own"}, "its own"},
		{"a supervisor in the foreground", &dockerx.SupervisedError{Foreground: true}, "stop the process runnerctl supervise"},
		{"a known fault before a type", &dockerx.BuildError{Problem: "write /x: no space left on device"}, "disk is full"},
		{"a full disk here", &fs.PathError{Op: "write", Path: "a.txt", Err: syscall.ENOSPC}, "no space left on this machine for a.txt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hint.Of(Add(test.err)); test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	var text bytes.Buffer
	Print(&text, ui.NewTheme("never", false, os.Getenv), errors.Join(session.ErrFailed, session.NoRunner("a"), session.NoRunner("b")))
	if want := "error: no runner named a\n  hint   runnerctl ps --all lists them\nerror: no runner named b\n  hint   runnerctl ps --all lists them\n"; text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}
