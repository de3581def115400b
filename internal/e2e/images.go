//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// ImageArchive returns the path of one of the suite's images as an archive for docker load.
func ImageArchive(t *testing.T, mirror, reference string) string {
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

// suiteImages is a registry in the place of Docker Hub: runners that have it as their mirror
// pull postgres:17 and others from there. The images are made of Debian's packages
// (testdata/images), so nothing else is needed.
var suiteImages struct {
	once sync.Once
	port string
}

// ImageMirror returns the registry's URL for containers of this machine.
func ImageMirror(t *testing.T, api *client.Client) string {
	t.Helper()
	bridge := BridgeAddress(t)
	suiteImages.once.Do(func() {
		// The engine may push to a registry without TLS only on the loopback.
		local, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(local.Addr().String())
		outer, err := net.Listen("tcp", net.JoinHostPort(bridge, port))
		if err != nil {
			t.Fatal(err)
		}
		serve := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
		for _, each := range []net.Listener{local, outer} {
			go func() { _ = http.Serve(each, serve) }() //nolint:gosec // until the tests end
		}
		hub := local.Addr().String()
		fill(t, enginetest.Cached(t, "images-", hashOfImages(t), func(dir string) { makeImages(t, api, hub, dir) }), hub)
		suiteImages.port = port
	})
	if suiteImages.port == "" {
		t.Fatal("the images could not be made: see the first test that needed them")
	}
	return "http://" + net.JoinHostPort(bridge, suiteImages.port)
}

// imageFiles returns the files from which the images are made.
func imageFiles() fs.FS { return os.DirFS(filepath.Join(SuiteFolder, "images")) }

func hashOfImages(t *testing.T) string {
	t.Helper()
	hash := sha256.New()
	all := tar.NewWriter(hash)
	err := fs.WalkDir(imageFiles(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(imageFiles(), path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if err := all.WriteHeader(&tar.Header{Name: path, Size: int64(len(text)), Mode: int64(info.Mode().Perm() & 0o100)}); err != nil {
			return err
		}
		_, err = all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6])
}

// nameKey is the annotation that holds an image's name in a folder of images.
const nameKey = "org.opencontainers.image.ref.name"

// makeImages builds each of testdata/images and keeps the images in a folder: compression
// takes long, and later tests find them there.
func makeImages(t *testing.T, api *client.Client, hub, dir string) {
	t.Helper()
	kept, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	folders, err := fs.Glob(imageFiles(), "*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("%d images %v", len(folders), err)
	}
	for _, folder := range folders {
		dockerfile, err := fs.ReadFile(imageFiles(), folder+"/Dockerfile")
		if err != nil {
			t.Fatal(err)
		}
		// The first line has the name, and the platforms if there are several.
		first, _, _ := strings.Cut(string(dockerfile), "\n")
		words := strings.Fields(strings.TrimPrefix(first, "#"))
		reference, platforms := words[0], words[1:]
		if !strings.Contains(reference, "/") {
			reference = "library/" + reference
		}
		named := layout.WithAnnotations(map[string]string{nameKey: reference})
		if len(platforms) == 0 {
			err = kept.AppendImage(built(t, api, folder, hub+"/"+reference, ""), named)
		} else {
			var index v1.ImageIndex = empty.Index
			for _, platform := range platforms {
				of, err := v1.ParsePlatform(platform)
				if err != nil {
					t.Fatal(err)
				}
				one := built(t, api, folder, hub+"/"+reference+"-"+of.Architecture, platform)
				index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{Platform: of}})
			}
			err = kept.AppendIndex(index, named)
		}
		if err != nil {
			t.Fatalf("%s: %v", reference, err)
		}
	}
}

// built builds an image and returns its content as the engine pushes it.
func built(t *testing.T, api *client.Client, folder, reference, platform string) v1.Image {
	t.Helper()
	files, err := fs.Sub(imageFiles(), folder)
	if err != nil {
		t.Fatal(err)
	}
	var context bytes.Buffer
	packed := tar.NewWriter(&context)
	if err := packed.AddFS(files); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	response, err := api.ImageBuild(t.Context(), &context, build.ImageBuildOptions{Version: build.BuilderBuildKit, Tags: []string{reference}, Platform: platform})
	if err != nil {
		t.Fatalf("%s: %v", reference, err)
	}
	drainStream(t, reference, response.Body)
	defer RemoveImage(t, api, reference)
	pushed, err := api.ImagePush(t.Context(), reference, image.PushOptions{RegistryAuth: base64.URLEncoding.EncodeToString([]byte("{}"))})
	if err != nil {
		t.Fatalf("%s: %v", reference, err)
	}
	drainStream(t, reference, pushed)
	parsed, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	made, err := remote.Image(parsed)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("image %s made in %s", folder, time.Since(begun).Round(time.Second))
	return made
}

// fill pushes the images of a folder to the registry.
func fill(t *testing.T, dir, hub string) {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range list.Manifests {
		parsed, err := name.ParseReference(hub + "/" + each.Annotations[nameKey])
		if err != nil {
			t.Fatal(err)
		}
		if each.MediaType.IsIndex() {
			var several v1.ImageIndex
			if several, err = index.ImageIndex(each.Digest); err == nil {
				err = remote.WriteIndex(parsed, several)
			}
		} else {
			var one v1.Image
			if one, err = index.Image(each.Digest); err == nil {
				err = remote.Write(parsed, one)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", parsed, err)
		}
	}
}

// drainStream reads a stream to its end, since failures are reported in it.
func drainStream(t *testing.T, reference string, stream io.ReadCloser) {
	t.Helper()
	defer func() { _ = stream.Close() }()
	if err := jsonmessage.DisplayJSONMessagesStream(stream, io.Discard, 0, false, nil); err != nil {
		t.Fatalf("%s: %v", reference, err)
	}
}
