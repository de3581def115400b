//go:build linux

// Package treetest makes files for tests of the runtime.
package treetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Build makes folders (with a slash at the end), files, links (a -> b) and pipes (a|).
func Build(t *testing.T, root string, entries ...string) {
	t.Helper()
	for _, entry := range entries {
		name, target, link := strings.Cut(entry, " -> ")
		path := filepath.Join(root, strings.TrimSuffix(name, "|"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case link:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "|"):
			err = unix.Mkfifo(path, 0o600)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte("content"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
