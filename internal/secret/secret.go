// Package secret has a text type that prints as [redacted] wherever it is logged.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a token, a key, or a runner's JIT configuration. Only Reveal returns it. It is held
// in a closure, since fmt prints unexported fields without calling their methods.
type Text struct{ reveal func() string }

// New wraps a secret.
func New(value string) Text { return Text{func() string { return value }} }

// Reveal returns the secret itself, for the one place that sends it.
func (t Text) Reveal() string {
	if t.reveal == nil {
		return ""
	}
	return t.reveal()
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.Reveal() == "" }

func (t Text) String() string { return redacted }

// Format prints [redacted] for every verb of fmt.
func (t Text) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText returns [redacted], for JSON and YAML.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns [redacted], for slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }
