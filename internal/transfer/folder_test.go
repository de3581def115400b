package transfer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestParseFolder(t *testing.T) {
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
	for text, want := range map[string]Folder{
		"":              {"", ""},
		"src":           {filepath.Join(top, "src"), "src"},
		"src/":          {filepath.Join(top, "src"), "src"},
		".":             {top, filepath.Base(top)},
		"src:work/x/":   {filepath.Join(top, "src"), "work/x"},
		"src:/opt/work": {filepath.Join(top, "src"), "/opt/work"},
		"a:b":           {filepath.Join(top, "a:b"), "a:b"},
		"a:b:c":         {filepath.Join(top, "a:b"), "c"},
	} {
		got, err := ParseFolder(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	if _, err := ParseFolder("nosuch:x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want %v", err, os.ErrNotExist)
	}
}
