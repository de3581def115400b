//go:build linux

// Package preload gives a new daemon the images of another daemon's data without copying their
// layers: the daemon's own folders link to layers in a read-only folder. It knows Docker's overlay2
// store (moby's daemon/graphdriver/overlay2 and layer/filestore.go) and containerd's. It imports no
// package of runnerctl.
package preload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Folders of Docker's overlay2 store in the daemon's data.
const (
	metadata = "image/overlay2"
	layers   = "overlay2"
)

// ErrUnknown means that a daemon keeps its images in another way than overlay2 and containerd.
var ErrUnknown = errors.New("no images of overlay2 or containerd")

// Link gives the daemon with its data in the folder data the images of the data in from. A daemon
// that has images already keeps its own. If the start is interrupted, the next one does it again.
// Images in containerd's store are those of LinkContainerd.
func Link(from, data string) error {
	if _, err := os.Lstat(filepath.Join(data, metadata)); err == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(from, metadata)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(from, snapshots, "metadata.db")); err == nil {
			return nil
		}
		return ErrUnknown
	}
	names, err := layersOf(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := linkLayer(from, data, name); err != nil {
			return fmt.Errorf("layer %s: %w", name, err)
		}
	}
	// The metadata comes last: with it, the daemon has the images.
	next := filepath.Join(data, metadata+".next")
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(from, metadata), next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(data, metadata))
}

// layersOf lists the folders of the layers of images. Those of containers have no metadata.
func layersOf(from string) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(from, metadata, "layerdb/sha256/*/cache-id"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSpace(string(text))
		if !filepath.IsLocal(name) || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%s names the folder %q", file, name)
		}
		names = append(names, name)
	}
	return names, nil
}

// linkLayer makes a layer's folder, whose content is a link.
func linkLayer(from, data, name string) error {
	source, place := filepath.Join(from, layers, name), filepath.Join(data, layers, name)
	short, err := os.ReadFile(filepath.Join(source, "link"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	for folder, mode := range map[string]os.FileMode{place: 0o710, filepath.Join(data, layers, "l"): 0o700} {
		if err := os.MkdirAll(folder, mode); err != nil {
			return err
		}
	}
	for _, file := range []string{"link", "lower", "committed"} { // the lowest layer has no lower
		if err := copyFile(filepath.Join(source, file), filepath.Join(place, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(place, "work"), 0o700); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(source, "diff"), filepath.Join(place, "diff")); err != nil {
		return err
	}
	alias := filepath.Join(data, layers, "l", strings.TrimSpace(string(short)))
	if err := os.Remove(alias); err != nil && !errors.Is(err, fs.ErrNotExist) { //nolint:gosec // in the data of a new daemon, which no job has touched
		return err
	}
	return os.Symlink(filepath.Join("..", name, "diff"), alias)
}

// copyTree copies folders and regular files. Folders of containers are not part of images.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case name == filepath.Join("layerdb", "mounts"), name == filepath.Join("layerdb", "tmp"):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case entry.Type().IsRegular():
			return copyFile(path, filepath.Join(to, name))
		}
		return nil
	})
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
