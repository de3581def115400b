//go:build linux && long

package compatibility

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// newestBase has newer packages than the default base, Docker among them. It is made here: a
// mirror's copy of a distribution that changes daily may be older than its lists are valid
// for, and apt would refuse it.
const newestBase = "runnerctl-test/debian:sid"

func makeNewestBase(t *testing.T, api *client.Client) {
	t.Helper()
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
	stream, err := api.ImageImport(t.Context(), image.ImportSource{Source: file, SourceName: "-"}, newestBase, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e2e.RemoveImage(t, api, newestBase) })
}

// The inputs also hold with the newest Debian.
func TestInputsOnSid(t *testing.T) {
	makeNewestBase(t, e2e.Engine(t))
	showInputs(t, newestBase)
}
