package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// ErrEmpty means that an archive holds nothing.
var ErrEmpty = errors.New("the archive is empty")

// HostileError means that an archive tries to write outside its target.
type HostileError struct{ Name, Problem string }

func (e *HostileError) Error() string { return fmt.Sprintf("%q in the archive %s", e.Name, e.Problem) }

// Unpack writes the one file or folder in an archive to dir as name. "." writes a folder's
// contents into dir itself; a name with a trailing slash allows only a folder. For any
// archive, nothing is written outside that file or folder: each path is resolved below
// an os.Root, no link on the way is followed (neither from the archive nor an existing
// one), and links that lead out are left out.
//
// The name of the archive's first entry does not matter.
func Unpack(in io.Reader, dir, name string) (Summary, error) {
	u := unpacker{in: tar.NewReader(in)}
	first, err := u.in.Next()
	if errors.Is(err, io.EOF) {
		return u.summary, ErrEmpty
	}
	if err != nil {
		return u.summary, err
	}
	parent, err := os.OpenRoot(dir)
	if err != nil {
		return u.summary, err
	}
	defer func() { _ = parent.Close() }()
	u.root, u.prefix = parent, path.Clean(first.Name)
	if first.Typeflag != tar.TypeDir {
		if name == "." {
			return u.summary, fmt.Errorf("%s is not a folder", u.prefix)
		}
		if strings.HasSuffix(name, "/") {
			return u.summary, fmt.Errorf("no such folder: %s", filepath.Join(dir, name))
		}
		err := u.entry(first, name)
		if err == nil && len(u.summary.Skipped) > 0 { // the only entry
			err = errors.New(u.summary.Skipped[0])
			u.summary.Skipped = nil
		}
		return u.summary, err
	}
	if name = strings.TrimSuffix(name, "/"); name != "." {
		if err := u.folder(name); err != nil {
			return u.summary, err
		}
		if u.root, err = parent.OpenRoot(name); err != nil {
			return u.summary, err
		}
		defer func() { _ = u.root.Close() }()
		u.later = append(u.later, first)
	}
	return u.summary, u.tree()
}

type unpacker struct {
	in      *tar.Reader
	root    *os.Root
	prefix  string
	later   []*tar.Header // folders: made read-only, if at all, once they are full
	summary Summary
}

func (u *unpacker) tree() error {
	for {
		header, err := u.in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		relative, ok := u.relative(header.Name)
		if !ok {
			return &HostileError{header.Name, "is outside the requested path"}
		}
		if err := u.entry(header, relative); err != nil {
			return err
		}
	}
	for i := len(u.later) - 1; i >= 0; i-- {
		relative, _ := u.relative(u.later[i].Name)
		if err := u.finish(u.later[i], filepath.FromSlash(relative)); err != nil {
			return err
		}
	}
	return nil
}

// relative returns a name relative to the prefix; "." for the prefix itself.
func (u *unpacker) relative(name string) (string, bool) {
	name = path.Clean(name)
	if name == u.prefix {
		return ".", true
	}
	if u.prefix != "." {
		var below bool
		if name, below = strings.CutPrefix(name, u.prefix+"/"); !below {
			return "", false
		}
	}
	return name, filepath.IsLocal(filepath.FromSlash(name))
}

// entry writes one member under its slash-separated name.
func (u *unpacker) entry(header *tar.Header, name string) error {
	if err := u.parents(name); err != nil {
		return err
	}
	local := filepath.FromSlash(name)
	switch header.Typeflag {
	case tar.TypeDir:
		if name == "." {
			return nil // a second entry for the folder itself
		}
		if found, err := u.root.Lstat(local); err == nil && !found.IsDir() {
			if err := u.root.Remove(local); err != nil {
				return err
			}
		}
		u.later = append(u.later, header)
		return u.folder(local)
	case tar.TypeReg:
		return u.file(header, local)
	case tar.TypeSymlink:
		if !staysInside(name, header.Linkname) {
			u.summary.skip(name, "a symbolic link out of the destination, to "+header.Linkname)
			return nil
		}
		if err := u.clear(local); err != nil {
			return err
		}
		return u.root.Symlink(filepath.FromSlash(header.Linkname), local)
	}
	u.summary.skip(name, "not a file, folder or link")
	return nil
}

// parents ensures that all parents of name are folders, and no links.
func (u *unpacker) parents(name string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		if err := u.folder(filepath.FromSlash(name[:i])); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) folder(local string) error {
	found, err := u.root.Lstat(local)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return u.root.Mkdir(local, 0o700)
	case err != nil:
		return err
	case found.Mode()&fs.ModeSymlink != 0:
		return &HostileError{local, "would be written through a symbolic link"}
	case !found.IsDir():
		return fmt.Errorf("%s: can't replace a file with a folder", local)
	}
	// It may be read-only now: a read-only folder that is copied again.
	return u.root.Chmod(local, found.Mode().Perm()|0o700)
}

// clear makes room for a file or link. It removes an existing file or link, so that nothing
// is written through it.
func (u *unpacker) clear(local string) error {
	found, err := u.root.Lstat(local)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.IsDir() {
		return fmt.Errorf("%s: can't replace a folder with a file", local)
	}
	return u.root.Remove(local)
}

func (u *unpacker) file(header *tar.Header, local string) error {
	if err := u.clear(local); err != nil {
		return err
	}
	file, err := u.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, u.in) //nolint:gosec // as large as the file in the runner is
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	u.summary.Files++
	u.summary.Bytes += header.Size
	return u.finish(header, local)
}

func (u *unpacker) finish(header *tar.Header, local string) error {
	if err := u.root.Chmod(local, fs.FileMode(header.Mode)&permissions); err != nil {
		return err
	}
	return u.root.Chtimes(local, time.Time{}, header.ModTime)
}

// staysInside reports whether a link's target is below the top folder. It follows a simple
// rule: ".." may stand only at the beginning, and no more often than the link is deep, since
// in other places another link could precede it.
func staysInside(name, target string) bool {
	if target == "" || path.IsAbs(target) || filepath.IsAbs(target) || strings.Contains(target, "\\") {
		return false
	}
	up, down := 0, false
	for _, part := range strings.Split(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if down {
				return false
			}
			up++
		default:
			down = true
		}
	}
	return up <= strings.Count(name, "/")
}
