// Package hint carries additions to an error's message: a cause, the last lines of a log, and
// a hint for the user. Errors have them as methods Cause() string, Last() []string and
// Hint() string; code that prints an error calls this package. It imports nothing of
// runnerctl.
package hint

import (
	"errors"
	"strings"
)

// Add gives an error a hint, which goes before a hint that it wraps.
func Add(err error, text string) error { return &hinted{err, text} }

type hinted struct {
	error
	text string
}

func (h *hinted) Hint() string  { return h.text }
func (h *hinted) Unwrap() error { return h.error }

// Of is the hint of an error, or of a wrapped one; "" if there is none.
func Of(err error) string {
	var found interface{ Hint() string }
	if errors.As(err, &found) {
		return found.Hint()
	}
	return ""
}

// Cause is the cause of an error, or of a wrapped one; "" if there is none.
func Cause(err error) string {
	var found interface{ Cause() string }
	if errors.As(err, &found) {
		return found.Cause()
	}
	return ""
}

// Last are the last log lines of an error, or of a wrapped one.
func Last(err error) []string {
	var found interface{ Last() []string }
	if errors.As(err, &found) {
		return found.Last()
	}
	return nil
}

// Text is everything that an error says but for its hint, a line each: message, cause and
// last lines.
func Text(err error) string {
	lines := []string{err.Error()}
	if cause := Cause(err); cause != "" {
		lines = append(lines, cause)
	}
	return strings.Join(append(lines, Last(err)...), "\n")
}

// FirstLine is the first line of an error's message.
func FirstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Line is an error's message and hint in one line.
func Line(err error) string {
	if text := Of(err); text != "" {
		return err.Error() + " (" + text + ")"
	}
	return err.Error()
}
