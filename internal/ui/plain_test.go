package ui

import "testing"

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"as it is, größer":                "as it is, größer",
		"\x1b[31mred\x1b[0m":              "red",
		"\x1b]0;title\x07text":            "text",
		"\x1b]8;;http://x\x1b\\link":      "link",
		"a\tb\r\nc\x08\x7f\u009b2Jd\x1bc": "a bc2Jdc",
		"\u202eevil":                      "evil",
	} {
		if got := Plain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
