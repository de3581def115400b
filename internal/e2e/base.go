//go:build linux

package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// MakeNewestBase makes a base image with newer packages than the default one, Docker among them, and
// returns its tag. It is made here: a mirror's copy of a distribution that changes daily may be older
// than its lists are valid for, and apt would refuse it.
func MakeNewestBase(t *testing.T, api *client.Client) (tag string) {
	t.Helper()
	tag = "runnerctl-test/debian:sid"
	path := filepath.Join(t.TempDir(), "base.tar")
	const old = `Acquire::Check-Valid-Until "false";`
	made := exec.CommandContext(t.Context(), "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "--aptopt="+old, "sid", path)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stream, err := api.ImageImport(t.Context(), image.ImportSource{Source: file, SourceName: "-"}, tag, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { RemoveImage(t, api, tag) })
	return tag
}
