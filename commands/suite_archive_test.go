//go:build linux && vm

package commands

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageArchive returns the path of one of the suite's images as an archive for docker load.
func imageArchive(t *testing.T, mirror, reference string) string {
	t.Helper()
	from, err := name.ParseReference(strings.TrimPrefix(mirror, "http://")+"/library/"+reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(from, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(path, tag, image); err != nil {
		t.Fatal(err)
	}
	return path
}
