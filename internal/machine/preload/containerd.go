//go:build linux

package preload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folders of containerd's store in the daemon's data, for a dockerd that keeps its images there
// (containerd's plugins/snapshots/overlay and plugins/content/local).
const (
	containerd = "containerd/daemon"
	database   = containerd + "/io.containerd.metadata.v1.bolt"
	snapshots  = containerd + "/io.containerd.snapshotter.v1.overlayfs"
	contents   = containerd + "/io.containerd.content.v1.content/blobs/sha256"

	linkedBlob = 100_000 // bytes: a smaller blob is copied, since a link takes a block too
)

// LinkContainerd is Link for images in containerd's store. It must end before containerd
// starts. Images of another store are left alone.
func LinkContainerd(from, data string) error {
	if _, err := os.Stat(filepath.Join(from, snapshots, "metadata.db")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(data, database)); err == nil {
		return nil
	}
	for _, one := range []struct {
		folder string
		fill   func(from, to string) error
	}{{snapshots, linkSnapshots}, {contents, linkBlobs}} {
		place := filepath.Join(data, one.folder)
		if err := errors.Join(os.RemoveAll(place), os.MkdirAll(place, 0o700)); err != nil { // of a start that was interrupted
			return err
		}
		if err := one.fill(filepath.Join(from, one.folder), place); err != nil {
			return fmt.Errorf("%s: %w", one.folder, err)
		}
	}
	// The list of images comes last: with it, the daemon has them.
	next := filepath.Join(data, database+".next")
	if err := errors.Join(os.RemoveAll(next), os.MkdirAll(next, 0o711)); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(from, database, "meta.db"), filepath.Join(next, "meta.db")); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(data, database))
}

// linkSnapshots makes the folders of snapshots, whose contents are links.
func linkSnapshots(from, to string) error {
	if err := copyFile(filepath.Join(from, "metadata.db"), filepath.Join(to, "metadata.db")); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(from, "snapshots"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		source, place := filepath.Join(from, "snapshots", entry.Name()), filepath.Join(to, "snapshots", entry.Name())
		if err := errors.Join(os.MkdirAll(place, 0o700), os.Mkdir(filepath.Join(place, "work"), 0o711)); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(source, "fs"), filepath.Join(place, "fs")); err != nil {
			return err
		}
	}
	return nil
}

// linkBlobs links large blobs and copies small ones.
func linkBlobs(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		place := copyFile
		if info.Size() > linkedBlob {
			place = os.Symlink
		}
		if err := place(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
