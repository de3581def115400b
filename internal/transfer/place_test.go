package transfer

import (
	"path"
	"testing"
)

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]Place{
		"ci-7k2p:work/x": {"ci-7k2p", "work/x"},
		"ci-7k2p:":       {"ci-7k2p", "."},
		"ci-7k2p:a:b":    {"ci-7k2p", "a:b"},
		"work":           {"", "work"},
		"./ci-7k2p:x":    {"", "./ci-7k2p:x"},
		"/a/b:c":         {"", "/a/b:c"},
		`C:\work`:        {"", `C:\work`},
		"-":              {"", "-"},
		"":               {"", ""},
	} {
		if got := ParsePlace(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"a/.": true, ".": true, "a/b/./": true, "/": true, "..": true, "a/": false, ".a": false, "a": false} {
		if got := (Place{Path: text}).contents(); got != want {
			t.Errorf("contents of %q: got %v, want %v", text, got, want)
		}
	}
}

// destine follows the rules of docker cp.
func TestDestine(t *testing.T) {
	tests := []struct {
		found, to string
		contents  bool
		want      string
	}{
		{aFolder, "dst", false, "dst|src"},
		{aFolder, "dst/", false, "dst/|src"},
		{aFolder, "dst", true, "dst|."},
		{nothing, "dst", false, ".|dst"},
		{nothing, "a/dst", true, "a/|dst"},
		{nothing, "/dst", false, "/|dst"},
		{aFile, "a/dst", false, "a/|dst"},
		{nothing, "a/dst/", false, "a/|dst/"},
	}
	for _, test := range tests {
		dir, name := destine(test.found, test.to, "src", test.contents, path.Split)
		if got := dir + "|" + name; got != test.want {
			t.Errorf("%+v: got %s, want %s", test, got, test.want)
		}
	}
}
