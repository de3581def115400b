//go:build linux

package regular

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadFile(t *testing.T) {
	folder := t.TempDir()
	pipe, endless, file := filepath.Join(folder, "pipe"), filepath.Join(folder, "endless"), filepath.Join(folder, "file")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(endless, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(endless, 1<<40); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadFile(file); err != nil || string(text) != "text" {
		t.Errorf("got %q, %v", text, err)
	}
	if text, err := ReadFile(endless); err != nil || len(text) != Max {
		t.Errorf("%d bytes, %v, want %d", len(text), err, Max)
	}
	for _, other := range []string{pipe, folder, "/dev/zero", filepath.Join(folder, "missing")} {
		if text, err := ReadFile(other); err == nil {
			t.Errorf("%s: %d bytes, want an error", other, len(text))
		}
	}
}
