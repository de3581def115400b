package commands

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"
)

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]place{
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
		if got := parsePlace(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"a/.": true, ".": true, "a/b/./": true, "/": true, "..": true, "a/": false, ".a": false, "a": false} {
		if got := (place{path: text}).contents(); got != want {
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

func TestParseCopy(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(top)
	for _, dir := range []string{"src", "a:b"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][2]string{
		"":              {"", ""},
		"src":           {filepath.Join(top, "src"), "src"},
		"src/":          {filepath.Join(top, "src"), "src"},
		".":             {top, filepath.Base(top)},
		"src:work/x/":   {filepath.Join(top, "src"), "work/x"},
		"src:/opt/work": {filepath.Join(top, "src"), "/opt/work"},
		"a:b":           {filepath.Join(top, "a:b"), "a:b"},
		"a:b:c":         {filepath.Join(top, "a:b"), "c"},
	} {
		dir, to, err := parseCopy(text)
		if err != nil || [2]string{dir, to} != want {
			t.Errorf("%q: got %q %q %v, want %q", text, dir, to, err, want)
		}
	}
	if _, _, err := parseCopy("nosuch:x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"10m": "2026-01-01T11:50:00Z", "2026-01-01T11:00:00Z": "2026-01-01T11:00:00Z"} {
		if got, err := parseSince(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"-10m", "yesterday", "10"} {
		if _, err := parseSince(text, now); err == nil {
			t.Errorf("%s: no error, want one", text)
		}
	}
}
