//go:build linux

package cleaner

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

const (
	clientSettings = ".docker" // of docker commands: logins, contexts, builders; below a home
	crontab        = "/var/spool/cron/crontabs/runner"
)

var homes = []string{home, "/root"}

// keepSettings copies the image's settings, unless an earlier start did so.
func (c *cleaner) keepSettings() error {
	if info, err := os.Stat(c.path(first)); err == nil && info.IsDir() {
		return nil
	}
	for _, home := range homes {
		copied := c.path(first, home)
		if err := os.MkdirAll(copied, 0o755); err != nil {
			return err
		}
		if err := replace(c.path(home), copied, clientSettings); err != nil {
			return err
		}
	}
	return nil
}

// forget restores the settings of docker commands, and removes a crontab.
func (c *cleaner) forget() error {
	var problems []error
	for _, home := range homes {
		problems = append(problems, replace(c.path(first, home), c.path(home), clientSettings))
	}
	if err := os.Remove(c.path(crontab)); !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// replace puts a copy of an entry of a folder into another folder, in the place of anything there.
// No link leads it out of the folders.
func replace(from, to, name string) error {
	target, err := os.OpenRoot(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a job removed the home
	}
	if err != nil {
		return err
	}
	defer target.Close()
	if err := target.RemoveAll(name); err != nil {
		return err
	}
	source, err := os.OpenRoot(from)
	if err == nil {
		defer source.Close()
		err = copyEntry(source, target, name)
	}
	if errors.Is(err, fs.ErrNotExist) { // the image has no such settings
		return nil
	}
	return err
}

// copyEntry copies a file, a link, or a folder with its content, with owners and modes. Owners
// come last: until then, the user can't change the copy.
func copyEntry(from, to *os.Root, name string) error {
	info, err := from.Lstat(name)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return copyFolder(from, to, name, info)
	case info.Mode().IsRegular():
		return copyFile(from, to, name, info)
	case info.Mode()&fs.ModeSymlink == 0:
		return nil // a socket, for example
	}
	target, err := from.Readlink(name)
	if err != nil {
		return err
	}
	if err := to.Symlink(target, name); err != nil {
		return err
	}
	return to.Lchown(name, owner(info), group(info))
}

func copyFolder(from, to *os.Root, name string, info fs.FileInfo) error {
	if err := to.Mkdir(name, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(from.FS(), name)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := copyEntry(from, to, path.Join(name, entry.Name())); err != nil {
			return err
		}
	}
	made, err := to.Open(name)
	if err != nil {
		return err
	}
	defer made.Close()
	return own(made, info)
}

func copyFile(from, to *os.Root, name string, info fs.FileInfo) error {
	source, err := from.Open(name)
	if err != nil {
		return err
	}
	defer source.Close()
	made, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer made.Close()
	if _, err := io.Copy(made, source); err != nil {
		return err
	}
	return own(made, info)
}

// own gives an open file the owner and the mode of another. A change of owner removes bits of the
// mode, so it comes first.
func own(file *os.File, like fs.FileInfo) error {
	return errors.Join(file.Chown(owner(like), group(like)), file.Chmod(like.Mode()))
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
func group(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Gid) }
