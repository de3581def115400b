//go:build linux

package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// seedMiB is enough for the images and for the archive that they are loaded from.
const seedMiB = 2000

// seeds holds data-roots with images in them, by the images' ids. Copying a data-root takes a
// tenth of the time that loading the images takes. Each is a file without a name, which
// disappears with this process.
var seeds struct {
	sync.Mutex
	byImages map[string]*os.File
}

func seedOf(t *testing.T, options Options) *os.File {
	t.Helper()
	seeds.Lock()
	defer seeds.Unlock()
	key := ""
	for _, reference := range options.Images {
		info, err := options.From.ImageInspect(t.Context(), reference)
		if err != nil {
			t.Fatal(err)
		}
		key += reference + " " + info.ID + "\n"
	}
	if seed := seeds.byImages[key]; seed != nil {
		return seed
	}
	e := Start(t, Options{DiskMiB: seedMiB})
	e.CopyImage(t, options.From, options.Images...)
	// Each engine must have its own id and networks.
	e.Inside(t, `rm -rf "$DIR/data/engine-id" "$DIR/data/network"`)
	e.Stop(t)
	if out, err := exec.Command("e2fsck", "-fp", e.disk()).CombinedOutput(); err != nil { // resize2fs requires it
		t.Fatalf("e2fsck: %v: %s", err, out)
	}
	seed, err := os.Open(e.disk())
	if err != nil {
		t.Fatal(err)
	}
	if seeds.byImages == nil {
		seeds.byImages = map[string]*os.File{}
	}
	seeds.byImages[key] = seed
	return seed
}

func copySeed(t *testing.T, seed *os.File, path string, mib int) {
	t.Helper()
	if mib < seedMiB {
		t.Fatalf("a private engine with images needs %d MiB, not %d", seedMiB, mib)
	}
	script := exec.Command("sh", "-euc", `cp --sparse=auto /proc/self/fd/3 "$1"; truncate -s "$2" "$1"; resize2fs "$1"`, "seed", path, fmt.Sprintf("%dM", mib))
	script.ExtraFiles = []*os.File{seed}
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("copy of a data-root: %v: %s", err, out)
	}
}
