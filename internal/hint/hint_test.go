package hint

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

type failure struct{ error }

func (failure) Hint() string   { return "own hint" }
func (failure) Cause() string  { return "cause" }
func (failure) Last() []string { return []string{"a", "b"} }

func TestOfWrappedErrors(t *testing.T) {
	plain := errors.New("plain")
	wrapped := fmt.Errorf("runner x: %w", failure{plain})
	for _, test := range []struct {
		err               error
		hint, cause, text string
		last              []string
	}{
		{plain, "", "", "plain", nil},
		{wrapped, "own hint", "cause", "runner x: plain\ncause\na\nb", []string{"a", "b"}},
		{Add(wrapped, "better"), "better", "cause", "runner x: plain\ncause\na\nb", []string{"a", "b"}},
		{errors.Join(plain, Add(plain, "second")), "second", "", "plain\nplain", nil},
	} {
		if got := Of(test.err); got != test.hint {
			t.Errorf("%v: hint %q, want %q", test.err, got, test.hint)
		}
		if got := Cause(test.err); got != test.cause {
			t.Errorf("%v: cause %q, want %q", test.err, got, test.cause)
		}
		if got := Last(test.err); !slices.Equal(got, test.last) {
			t.Errorf("%v: last %q, want %q", test.err, got, test.last)
		}
		if got := Text(test.err); got != test.text {
			t.Errorf("%v: text %q, want %q", test.err, got, test.text)
		}
	}
	if !errors.Is(Add(plain, "x"), plain) {
		t.Error("a hint hides the error")
	}
}

func TestLine(t *testing.T) {
	plain := errors.New("plain")
	for want, err := range map[string]error{"plain": plain, "plain (own hint)": failure{plain}} {
		if got := Line(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
