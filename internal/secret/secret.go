// Package secret has a text that prints as [redacted] wherever it is logged.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a token, a key, or a runner's JIT configuration. Only Reveal gives it.
// It is held in a closure, since fmt prints unexported fields without asking.
type Text struct{ reveal func() string }

// New wraps a secret.
func New(value string) Text { return Text{func() string { return value }} }

// Reveal gives the secret itself, for the one place that sends it.
func (t Text) Reveal() string {
	if t.reveal == nil {
		return ""
	}
	return t.reveal()
}

// Empty tells whether there is none.
func (t Text) Empty() bool { return t.Reveal() == "" }

func (t Text) String() string { return redacted }

// Format is what every verb of fmt prints.
func (t Text) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText is what JSON and YAML print.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is what slog prints.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }
