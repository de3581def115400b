package archives

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // git's own names of trees
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// Limits of the content of an archive.
const (
	maxUnpacked = 2 << 30 // bytes
	maxFiles    = 100_000
	maxNames    = 16 << 20 // bytes of the files' paths
)

// node is a file or a folder of a git tree.
type node struct {
	mode     string // as git writes it
	sum      []byte // of a file's content
	children map[string]*node
}

// Modes of git's trees (git/tree-walk.h).
const (
	modeFile       = "100644"
	modeExecutable = "100755"
	modeLink       = "120000"
	modeFolder     = "40000"
)

// TreeOf returns git's name of the tree in an archive of git archive, whose first folder has any
// name. It differs from the commit's tree if git left files out of the archive, or changed them
// (export-ignore, export-subst), and for submodules.
func TreeOf(archive io.Reader) (string, error) {
	unpacked, err := gzip.NewReader(archive)
	if err != nil {
		return "", err
	}
	defer func() { _ = unpacked.Close() }()
	root := &node{mode: modeFolder, children: map[string]*node{}}
	files := tar.NewReader(io.LimitReader(unpacked, maxUnpacked))
	for count, names := 0, 0; ; count++ {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(root.name()), nil
		}
		if err != nil {
			return "", err
		}
		_, path, below := strings.Cut(strings.TrimSuffix(header.Name, "/"), "/")
		if !below || header.Typeflag == tar.TypeDir || header.Typeflag == tar.TypeXGlobalHeader {
			continue // git has no empty folders
		}
		if names += len(path); count >= maxFiles || names > maxNames {
			return "", ErrLarge
		}
		made := &node{}
		switch {
		case header.Typeflag == tar.TypeSymlink:
			made.mode, made.sum = modeLink, blob(int64(len(header.Linkname)), strings.NewReader(header.Linkname))
		case header.Typeflag != tar.TypeReg:
			return "", fmt.Errorf("%s is neither a file nor a link", header.Name)
		case header.Mode&0o100 != 0:
			made.mode, made.sum = modeExecutable, blob(header.Size, files)
		default:
			made.mode, made.sum = modeFile, blob(header.Size, files)
		}
		if err := root.add(path, made); err != nil {
			return "", err
		}
	}
}

// add puts a file into the tree.
func (n *node) add(path string, file *node) error {
	folder, rest, below := strings.Cut(path, "/")
	if folder == "" || folder == "." || folder == ".." {
		return fmt.Errorf("%q is not a path of git", path)
	}
	known := n.children[folder]
	switch {
	case !below && known == nil:
		n.children[folder] = file
		return nil
	case !below || known != nil && known.children == nil:
		return fmt.Errorf("duplicate path %q", path)
	case known == nil:
		known = &node{mode: modeFolder, children: map[string]*node{}}
		n.children[folder] = known
	}
	return known.add(rest, file)
}

// name returns the SHA-1 of a file or folder. Git sorts folders as if their names ended with a slash.
func (n *node) name() []byte {
	if n.children == nil {
		return n.sum
	}
	type entry struct {
		key, name string
		*node
	}
	var entries []entry
	for name, child := range n.children {
		key := name
		if child.children != nil {
			key += "/"
		}
		entries = append(entries, entry{key, name, child})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	var text bytes.Buffer
	for _, one := range entries {
		fmt.Fprintf(&text, "%s %s\x00%s", one.mode, one.name, one.node.name())
	}
	sum := object("tree", int64(text.Len()))
	_, _ = text.WriteTo(sum) // never fails
	return sum.Sum(nil)
}

// object begins the SHA-1 of an object of git.
func object(kind string, size int64) hash.Hash {
	sum := sha1.New() //nolint:gosec // git's own names
	fmt.Fprintf(sum, "%s %d\x00", kind, size)
	return sum
}

// blob returns the SHA-1 of a file. No commit has that of a file that is too short.
func blob(size int64, content io.Reader) []byte {
	sum := object("blob", size)
	_, _ = io.Copy(sum, content) // the archive's next header reports the error
	return sum.Sum(nil)
}
