//go:build linux

package cache

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// layerOf makes a layer of files, whose names may end with a slash. Random data makes it large.
func layerOf(t *testing.T, files ...tar.Header) v1.Layer {
	t.Helper()
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, header := range files {
		header.Mode |= 0o644
		if strings.HasSuffix(header.Name, "/") {
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		}
		if err := out.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(make([]byte, header.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// pushLayers adds layers to busybox and pushes the image under a name of Docker Hub.
func pushLayers(t *testing.T, mirror, as string, layers ...v1.Layer) {
	t.Helper()
	host := strings.TrimPrefix(mirror, "http://")
	from, err := name.ParseReference(host+"/library/busybox:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	base, err := remote.Image(from)
	if err != nil {
		t.Fatal(err)
	}
	made, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.ParseReference(host+"/library/"+as, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(to, made); err != nil {
		t.Fatal(err)
	}
}

// volumes lists the engine's volumes with preloaded images.
func volumes(t *testing.T, api *client.Client) (names []string) {
	t.Helper()
	list, err := api.VolumeList(t.Context(), volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "dev.runnerctl.role=preload"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list.Volumes {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names
}

// Runners have the images of cache.preload from their start, without a registry and at the cost of
// a few small files. Changes of one runner do not reach the others.
func TestPreload(t *testing.T) {
	for store, settings := range map[string]string{
		"overlay2":   "",
		"containerd": "runners: {dockerd: {features: {containerd-snapshotter: true}}}\n",
	} {
		t.Run(store, func(t *testing.T) { preloads(t, settings) })
	}
}

// preloads runs the steps with runners of more settings.
func preloads(t *testing.T, more string) {
	api := e2e.Engine(t)
	t.Cleanup(func() { removeCache(t) }) // after the runners, which have its volumes
	registry := e2e.ImageMirror(t, api)
	pushLayers(t, registry, "layered:1",
		layerOf(t, tar.Header{Name: "data/"}, tar.Header{Name: "data/gone", Size: 8 << 20}, tar.Header{Name: "data/owned", Uid: 42, Gid: 43}, tar.Header{Name: "hidden/"}, tar.Header{Name: "hidden/below"}),
		layerOf(t, tar.Header{Name: "data/.wh.gone"}, tar.Header{Name: "hidden/"}, tar.Header{Name: "hidden/.wh..wh..opq"}, tar.Header{Name: "hidden/new"}))
	hub := newUpstream(t, registry)
	t.Setenv("RUNNERCTL_SUPERVISOR_BINARY", e2e.Program(t))
	fleet := e2e.NewFleet(t, api)
	settings := fmt.Sprintf("cache: {size: 4GiB, upstreams: {docker.io: %q}, preload: [busybox:1, layered:1]}\n", hub.URL) + more
	e2e.WriteFile(t, "runnerctl.yaml", settings)
	up := func(count string) string {
		code, _, said := e2e.Runnerctl(t.Context(), e2e.Up(fleet, "--count", count)...)
		if code != 0 {
			t.Fatalf("up: code %d, want 0\n%s", code, said)
		}
		return said
	}
	if said := up("2"); !strings.Contains(said, "preload ✔ busybox:1, layered:1") {
		t.Errorf("got\n%s\nwant a line for the preloaded images", said)
	}
	made := volumes(t, api)
	if len(made) != 2 {
		t.Errorf("volumes: %v, want one with the images and its mark", made)
	}
	hub.Close()
	runners := e2e.List(t, fleet)
	inside := func(runner int, script string) string {
		return e2e.Must(t, "exec", "--root", runners[runner].Name, "--", "sh", "-euc", script)
	}

	t.Run("size", func(t *testing.T) {
		text := strings.Fields(inside(0, "du -sk --exclude=volumes /var/lib/docker"))[0]
		if size, err := strconv.Atoi(text); err != nil || size >= 2<<10 {
			t.Errorf("dockerd's data has %s KiB, want less than 2 MiB", text)
		}
	})
	const look = `docker run --rm --pull never layered:1 sh -c 'ls data hidden; stat -c %u:%g data/owned'`
	const want = "data:\nowned\n\nhidden:\nnew\n42:43\n"
	t.Run("run", func(t *testing.T) {
		for i := range runners {
			if out := strings.ReplaceAll(inside(i, look), "\r", ""); !strings.HasSuffix(out, want) {
				t.Errorf("runner %d: got %q, want %q", i, out, want)
			}
		}
	})
	t.Run("commands on images", func(*testing.T) {
		inside(0, `cd $(mktemp -d)
			docker save --output saved.tar layered:1
			docker create --name made layered:1 sh; docker export --output exported.tar made; tar -tf exported.tar | grep -x data/owned
			docker commit made committed >/dev/null; docker run --rm committed test -e hidden/new
			docker run --name ran layered:1 sh -c 'echo changed >data/owned; rm hidden/new'
			docker diff ran | grep -x 'D /hidden/new'; docker rm made ran
			printf 'FROM layered:1\nRUN echo built >/data/built\n' | docker build --quiet --tag built - ; docker run --rm built cat /data/built
			docker rmi --force layered:1 committed built >/dev/null; docker image prune --all --force >/dev/null
			! docker image inspect layered:1 >/dev/null 2>&1
			docker load --input saved.tar; `+look)
	})
	t.Run("the folder is read-only, even for root", func(t *testing.T) {
		for _, attempt := range []string{
			"touch /usr/lib/runnerctl/preload/x", "rm -r /usr/lib/runnerctl/preload/*",
			"mount -o remount,bind,rw /usr/lib/runnerctl/preload", "mount -o remount,rw /usr/lib/runnerctl/preload",
			"umount /usr/lib/runnerctl/preload",
			"unshare --mount sh -c 'mount -o remount,bind,rw /usr/lib/runnerctl/preload && touch /usr/lib/runnerctl/preload/x'",
		} {
			if code, _, _ := e2e.Runnerctl(t.Context(), "exec", "--root", runners[0].Name, "--", "sh", "-c", attempt); code == 0 {
				t.Errorf("%s: code 0, want a refusal", attempt)
			}
		}
	})
	t.Run("other runners keep their images", func(t *testing.T) {
		if out := inside(1, look); !strings.HasSuffix(out, want) {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("up again", func(t *testing.T) {
		if said := up("3"); strings.Contains(said, "preload") {
			t.Errorf("got\n%s\nwant the images kept", said)
		}
		if now := volumes(t, api); !slices.Equal(now, made) {
			t.Errorf("volumes: %v, want %v", now, made)
		}
	})
	t.Run("prune", func(t *testing.T) {
		e2e.Must(t, "down", "--fleet", fleet)
		if plan := e2e.Must(t, "prune", "--dry-run"); strings.Contains(plan, "runnerctl-preload-") {
			t.Errorf("got\n%s\nwant the images kept", plan)
		}
	})
	t.Run("down --cache", func(t *testing.T) {
		e2e.Must(t, "down", "--cache", "--fleet", fleet)
		if now := volumes(t, api); len(now) > 0 {
			t.Errorf("volumes: %v, want none", now)
		}
	})
	t.Run("an image that does not exist", func(t *testing.T) {
		e2e.WriteFile(t, "runnerctl.yaml", strings.Replace(settings, "layered:1", "nosuch:1", 1))
		code, _, said := e2e.Runnerctl(t.Context(), e2e.Up(fleet)...)
		if code != 1 || !strings.Contains(said, "cache.preload: docker pull --quiet") {
			t.Errorf("code %d\n%s\nwant code 1 and the image's name", code, said)
		}
		if now := volumes(t, api); len(now) > 0 {
			t.Errorf("volumes: %v, want none", now)
		}
	})
}
