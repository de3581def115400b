package dockerx

import (
	"errors"
	"regexp"
)

// Plain is an error without the words in which the engine's client describes its
// requests: their addresses. A HostError stays as it is.
func Plain(err error) error {
	var away *HostError
	if errors.As(err, &away) {
		return err
	}
	text := clientWords.ReplaceAllString(err.Error(), "")
	if text == err.Error() {
		return err
	}
	return &reworded{err, text}
}

type reworded struct {
	error
	text string
}

func (e *reworded) Error() string { return e.text }
func (e *reworded) Unwrap() error { return e.error }

var clientWords = regexp.MustCompile(`error during connect: |[A-Z][a-z]+ "https?://[^"]*": `)

// ofHost is the host's own error, if there is one.
func ofHost(err error) error {
	var away *HostError
	if errors.As(err, &away) {
		return away
	}
	return err
}

// Reason is Plain of the host's own error, or of err if it has none.
func Reason(err error) error { return Plain(ofHost(err)) }
