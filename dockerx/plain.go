package dockerx

import (
	"errors"
	"regexp"
)

// clientWords are how the engine's client describes its requests: their addresses.
var clientWords = regexp.MustCompile(`error during connect: |[A-Z][a-z]+ "https?://[^"]*": `)

// Plain is an error without the client's description of its request.
func Plain(err error) error {
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

// Reason is a remote host's own error (HostError) if err wraps one, otherwise Plain.
func Reason(err error) error {
	var away *HostError
	if errors.As(err, &away) {
		return away
	}
	return Plain(err)
}
