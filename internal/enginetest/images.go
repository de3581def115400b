//go:build linux

package enginetest

import (
	"context"
	"io"
	"os/exec"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// ImportImage makes an image of one layer from an archive of its tree. Changes are instructions of a
// Dockerfile.
func ImportImage(ctx context.Context, api *client.Client, tag string, tree io.Reader, changes ...string) error {
	stream, err := api.ImageImport(ctx, image.ImportSource{Source: tree, SourceName: "-"}, tag, image.ImportOptions{Changes: changes})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	_, err = io.Copy(io.Discard, stream)
	return err
}

// Debootstrap makes a minimal Debian of a suite with more packages, separated by commas: a folder, or
// an archive if the target's name ends with .tar.
func Debootstrap(t *testing.T, suite, packages, target string) {
	t.Helper()
	// A mirror's copy of a suite that changes daily may be older than its lists are valid for.
	const old = `Acquire::Check-Valid-Until "false";`
	made := exec.CommandContext(t.Context(), "mmdebstrap", "--quiet", "--variant=minbase", "--include="+packages, "--aptopt="+old, suite, target)
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
}
