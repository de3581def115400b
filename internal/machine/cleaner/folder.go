//go:build linux

package cleaner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/user"
)

// home is the home of the user runner.
const home = "/home/runner"

// empty deletes the content of the work folder, except the folders of repositories, which the
// agent creates once, tools, actions, and the hook's own files.
func (c *cleaner) empty() error {
	work, err := c.openWork()
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case isNoFolder(err):
		return fmt.Errorf("%s is not a folder", c.work)
	case err != nil:
		return err
	}
	defer work.Close()
	return work.each(func(name string) error {
		switch {
		case name == "_temp":
			return work.enter(name, folder.removeOthers, keep)
		case strings.HasPrefix(name, "_"):
			return nil
		}
		return work.enter(name, folder.emptyRepository, func() error { return work.remove(name) })
	})
}

// openWork opens the work folder. Its path in the home is the user's, so a job may have put links
// there: they lead nowhere.
func (c *cleaner) openWork() (folder, error) {
	base, names := filepath.Dir(c.work), []string{filepath.Base(c.work)}
	if within(c.work, home) {
		base, names = home, strings.Split(strings.TrimPrefix(c.work, home+"/"), "/")
	}
	file, err := os.OpenFile(c.path(base), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return folder{}, err
	}
	at := folder{File: file}
	for _, name := range names {
		next, err := at.open(name)
		at.Close()
		if err != nil {
			return folder{}, err
		}
		at = next
	}
	return at, nil
}

// folder is an open folder. Its entries are reached through its descriptor, so a link in the place
// of an entry leads nowhere.
type folder struct {
	*os.File
	device uint64
}

// open opens a folder in this one.
func (f folder) open(name string) (folder, error) {
	path := filepath.Join(f.Name(), name)
	fd, err := unix.Openat(int(f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return folder{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	opened := folder{File: os.NewFile(uintptr(fd), path)}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		opened.Close()
		return folder{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	opened.device = stat.Dev
	return opened, nil
}

// isNoFolder reports whether an entry could not be opened because it is a file or a link.
func isNoFolder(err error) bool { return errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) }

// enter calls a function with a folder in this one, or another function if the entry is a file or
// a link.
func (f folder) enter(name string, act func(folder) error, other func() error) error {
	inner, err := f.open(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil // a process of the job is faster
	case isNoFolder(err):
		return other()
	case err != nil:
		return err
	}
	defer inner.Close()
	return act(inner)
}

// each calls a function with the name of each entry.
func (f folder) each(act func(name string) error) error {
	names, err := f.Readdirnames(-1)
	problems := []error{err}
	for _, name := range names {
		problems = append(problems, act(name))
	}
	return errors.Join(problems...)
}

// sameFileSystem limits a function to folders on which nothing is mounted.
func (f folder) sameFileSystem(act func(folder) error) func(folder) error {
	return func(inner folder) error {
		if inner.device != f.device {
			return nil
		}
		return act(inner)
	}
}

// keep does nothing with an entry.
func keep() error { return nil }

// emptyRepository deletes the content of a repository's folder, but not the folders in it.
func (f folder) emptyRepository() error {
	return f.each(func(name string) error {
		return f.enter(name, f.sameFileSystem(folder.clear), func() error { return f.remove(name) })
	})
}

// removeOthers deletes entries of other users than runner, also in folders of runner: the agent
// can't delete them.
func (f folder) removeOthers() error {
	return f.each(func(name string) error {
		var stat unix.Stat_t
		if unix.Fstatat(int(f.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return nil // a process of the job is faster
		}
		if stat.Uid != user.Runner {
			return f.remove(name)
		}
		return f.enter(name, f.sameFileSystem(folder.removeOthers), keep)
	})
}

// clear deletes the content.
func (f folder) clear() error { return f.each(f.remove) }

// remove deletes an entry, and a folder with its content.
func (f folder) remove(name string) error {
	err := unix.Unlinkat(int(f.Fd()), name, 0)
	if errors.Is(err, unix.EISDIR) {
		if err := f.enter(name, f.sameFileSystem(folder.clear), keep); err != nil {
			return err
		}
		err = unix.Unlinkat(int(f.Fd()), name, unix.AT_REMOVEDIR)
	}
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "remove", Path: filepath.Join(f.Name(), name), Err: err}
}
