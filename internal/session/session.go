// Package session is the part of a command's work that every command shares: the process's
// streams and environment, the hosts of the settings and the selected one, connections to
// engines and to GitHub. It knows no flags, and may import everything but commands and
// internal/cmdline.
package session

import (
	"context"
	"errors"
	"io"

	"github.com/runnerctl/runnerctl/internal/ui"
)

// Session is everything that a command gets from its process and from the flags that all
// commands have.
type Session struct {
	Streams ui.Streams
	Env     func(string) string
	Prompt  ui.Prompter
	GOOS    string // this client's operating system
	Color   ui.ColorMode
	Host    string // value of --host; "" for the settings' hosts, else docker's own choice
	Hosts   Inventory
	Version string // of runnerctl
}

// ErrFailed ends a command with code 1 if the problem is already reported.
var ErrFailed = errors.New("failed")

// UsageError reports a mistake in the command line that only the work itself can notice. The
// command that runs adds its name.
type UsageError struct{ Problem string }

func (e *UsageError) Error() string { return e.Problem }

// Asks reports whether a user can be asked, on a terminal that supports questions.
func (s Session) Asks() bool { return s.Streams.InTTY && s.Redraws() }

// Redraws reports whether stderr is a terminal that can move its cursor.
func (s Session) Redraws() bool { return s.Streams.ErrTTY && s.Env("TERM") != "dumb" }

// Silent returns the session without output on stderr.
func (s Session) Silent() Session {
	s.Streams.Err, s.Streams.ErrTTY = io.Discard, false
	return s
}

// Flatten splits the errors of errors.Join, so that each is printed with its own hint.
func Flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // the outermost only
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, Flatten(one)...)
	}
	return all
}

// Interrupted returns why ctx ended, and err if it has not.
func Interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
