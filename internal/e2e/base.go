//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// MakeBase makes a base image of a suite of Debian, removes it with the test, and returns its tag.
// sid has newer packages than the default base, Docker among them. It is made here: apt in the
// registry's image would refuse lists that are older than their validity.
func MakeBase(t *testing.T, api *client.Client, suite string) (tag string) {
	t.Helper()
	tag = "runnerctl-test/debian:" + suite
	path := filepath.Join(t.TempDir(), "base.tar")
	enginetest.Debootstrap(t, suite, "ca-certificates", path)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := enginetest.ImportImage(t.Context(), api, tag, file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { RemoveImage(t, api, tag) })
	return tag
}
