// Package agenttest builds the agent of testagent/ for tests.
package agenttest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Archive packs the agent for this machine's architecture, like a release of
// GitHub's runner, and gives the path; args are further ones of testagent/pack.
func Archive(t testing.TB, args ...string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "..", "..", "testagent")
	archive := filepath.Join(t.TempDir(), "testagent.tar.gz")
	if output, err := exec.Command("go", append([]string{"-C", module, "run", "./pack", "-o", archive}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("pack the agent: %v: %s", err, output)
	}
	return archive
}

// Unpack puts the agent into a folder as its root.
func Unpack(t testing.TB, archive, root string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for reader := tar.NewReader(zip); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, header.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		target, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, header.FileInfo().Mode())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(target, reader); err != nil {
			t.Fatal(err)
		}
		if err := target.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
