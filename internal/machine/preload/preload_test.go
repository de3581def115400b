//go:build linux

package preload

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write makes the files of a folder. A name with a slash at its end is a folder.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		folder := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			folder = path
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// list returns the files and links of a folder with their contents.
func list(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.Type() == fs.ModeSymlink {
			to, err := os.Readlink(path)
			all = append(all, name+" -> "+to)
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, name+" = "+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

var images = map[string]string{
	"image/overlay2/repositories.json":                 "{}",
	"image/overlay2/imagedb/content/sha256/aa":         "config",
	"image/overlay2/layerdb/sha256/c1/cache-id":        "one",
	"image/overlay2/layerdb/sha256/c2/cache-id":        "two",
	"image/overlay2/layerdb/sha256/c2/parent":          "sha256:c1",
	"image/overlay2/layerdb/mounts/container/mount-id": "three",
	"image/overlay2/layerdb/tmp/write-set-1/cache-id":  "four",
	"overlay2/one/diff/bin/sh":                         "a shell",
	"overlay2/one/link":                                "AAA",
	"overlay2/one/committed":                           "",
	"overlay2/two/diff/etc/passwd":                     "root",
	"overlay2/two/link":                                "BBB",
	"overlay2/two/lower":                               "l/AAA",
	"overlay2/two/committed":                           "",
	"overlay2/three/diff/of-a-container":               "",
	"overlay2/three/link":                              "CCC",
}

func TestLink(t *testing.T) {
	from, data := t.TempDir(), t.TempDir()
	write(t, from, images)
	write(t, data, map[string]string{"image/overlay2.next/repositories.json": "of an interrupted start", "overlay2/one/link": "the same"})
	if err := Link(from, data); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"image/overlay2/imagedb/content/sha256/aa = config",
		"image/overlay2/layerdb/sha256/c1/cache-id = one",
		"image/overlay2/layerdb/sha256/c2/cache-id = two",
		"image/overlay2/layerdb/sha256/c2/parent = sha256:c1",
		"image/overlay2/repositories.json = {}",
		"overlay2/l/AAA -> ../one/diff",
		"overlay2/l/BBB -> ../two/diff",
		"overlay2/one/committed = ",
		"overlay2/one/diff -> " + from + "/overlay2/one/diff",
		"overlay2/one/link = AAA",
		"overlay2/two/committed = ",
		"overlay2/two/diff -> " + from + "/overlay2/two/diff",
		"overlay2/two/link = BBB",
		"overlay2/two/lower = l/AAA",
	}
	if got := list(t, data); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := os.WriteFile(filepath.Join(data, metadata, "repositories.json"), []byte("of the job"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Link(from, data); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(data, metadata, "repositories.json")); string(text) != "of the job" {
		t.Errorf("a second start wrote %q, want the job's own images kept", text)
	}
}

// Snapshots and large blobs are links, the rest is copied, and a daemon's own images stay.
func TestLinkContainerd(t *testing.T) {
	from, data := t.TempDir(), t.TempDir()
	large := strings.Repeat("x", linkedBlob+1)
	write(t, from, map[string]string{
		database + "/meta.db": "images", snapshots + "/metadata.db": "chains", snapshots + "/snapshots/1/fs/file": "one", snapshots + "/snapshots/2/fs/file": "two",
		contents + "/aa": "manifest", contents + "/bb": large,
	})
	write(t, data, map[string]string{snapshots + "/snapshots/9/fs/file": "of an interrupted start"})
	if err := errors.Join(LinkContainerd(from, data), Link(from, data)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		contents + "/aa = manifest",
		contents + "/bb -> " + from + "/" + contents + "/bb",
		database + "/meta.db = images",
		snapshots + "/metadata.db = chains",
		snapshots + "/snapshots/1/fs -> " + from + "/" + snapshots + "/snapshots/1/fs",
		snapshots + "/snapshots/2/fs -> " + from + "/" + snapshots + "/snapshots/2/fs",
	}
	if got := list(t, data); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	write(t, data, map[string]string{database + "/meta.db": "of the job"})
	if err := LinkContainerd(from, data); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(data, database, "meta.db")); string(text) != "of the job" {
		t.Errorf("a second start wrote %q, want the job's own images kept", text)
	}
}

func TestLinkOfAnUnknownStore(t *testing.T) {
	from, data := t.TempDir(), t.TempDir()
	write(t, from, map[string]string{"vfs/dir/one/file": ""})
	if err := LinkContainerd(from, data); err != nil || len(list(t, data)) > 0 {
		t.Errorf("got %v and %v, want nothing", err, list(t, data))
	}
	if err := Link(from, data); !errors.Is(err, ErrUnknown) || len(list(t, data)) > 0 {
		t.Errorf("got %v and %v, want %v and nothing", err, list(t, data), ErrUnknown)
	}
}

func TestLinkRefusesOtherFolders(t *testing.T) {
	from, data := t.TempDir(), t.TempDir()
	write(t, from, map[string]string{"image/overlay2/layerdb/sha256/c1/cache-id": "../../etc"})
	if err := Link(from, data); err == nil || len(list(t, data)) > 0 {
		t.Errorf("got %v and %v, want an error and nothing", err, list(t, data))
	}
}
