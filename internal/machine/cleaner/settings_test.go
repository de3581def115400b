//go:build linux

package cleaner

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine/treetest"
)

// settled returns a machine whose image has settings of docker commands, after the first start.
func settled(t *testing.T) *cleaner {
	t.Helper()
	enginetest.NeedRoot(t, "a change of owners", "sh")
	c := &cleaner{root: t.TempDir()}
	treetest.Build(t, c.root, "canary/file", "root/", home+"/.docker/config.json", home+"/.docker/cli-plugins/docker-own", home+"/.docker/link -> config.json", home+"/.docker/pipe|")
	for name, mode := range map[string]fs.FileMode{"": 0o700, "config.json": 0o600, "cli-plugins": 0o755, "cli-plugins/docker-own": 0o755 | fs.ModeSetgid} {
		place := c.path(home, clientSettings, name)
		if err := os.Lchown(place, 1001, 1001); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(place, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.keepSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// After each job, the settings are those of the image.
func TestSettingsAreRestored(t *testing.T) {
	for name, spoil := range map[string]func(c *cleaner) error{
		"nothing": func(*cleaner) error { return nil },
		"a changed file": func(c *cleaner) error {
			return os.WriteFile(c.path(home, ".docker/config.json"), []byte("login"), 0o600)
		},
		"another file":     func(c *cleaner) error { return os.WriteFile(c.path(home, ".docker/contexts"), nil, 0o600) },
		"settings of root": func(c *cleaner) error { return os.MkdirAll(c.path("/root/.docker/contexts"), 0o700) },
		"removed":          func(c *cleaner) error { return os.RemoveAll(c.path(home, ".docker")) },
		"a pipe": func(c *cleaner) error {
			return replaced(c, func(place string) error { return unix.Mkfifo(place, 0o600) })
		},
		"a link to a home": func(c *cleaner) error {
			return replaced(c, func(place string) error { return os.Symlink("other", place) })
		},
		"a link to a place": func(c *cleaner) error {
			return replaced(c, func(place string) error { return os.Symlink(c.path("canary"), place) })
		},
		"a link inside": func(c *cleaner) error { return os.Symlink(c.path("canary"), c.path(home, ".docker/canary")) },
	} {
		c := settled(t)
		if err := spoil(c); err != nil {
			t.Fatal(err)
		}
		if err := c.forget(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := list(t, c.path(home)), []string{".docker/cli-plugins/docker-own", ".docker/config.json", ".docker/link"}; !slices.Equal(got, want) {
			t.Errorf("%s: settings are %q, want %q", name, got, want)
		}
		if text, err := os.ReadFile(c.path(home, ".docker/config.json")); err != nil || string(text) != "content" {
			t.Errorf("%s: got %q, %v, want the image's file", name, text, err)
		}
		if got := append(list(t, c.path("canary")), list(t, c.path("root"))...); !slices.Equal(got, []string{"file"}) {
			t.Errorf("%s: other places have %q, want the file alone", name, got)
		}
	}
}

func replaced(c *cleaner, make func(place string) error) error {
	place := c.path(home, clientSettings)
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	return make(place)
}

func TestOwnersAndModesOfSettings(t *testing.T) {
	c := settled(t)
	if err := c.forget(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode  fs.FileMode
		owner uint32
	}{
		"":                       {fs.ModeDir | 0o700, 1001},
		"config.json":            {0o600, 1001},
		"cli-plugins":            {fs.ModeDir | 0o755, 1001},
		"cli-plugins/docker-own": {fs.ModeSetgid | 0o755, 1001},
		"link":                   {fs.ModeSymlink | 0o777, 0},
	} {
		for _, folder := range []string{c.path(home), c.path(first, home)} {
			info, err := os.Lstat(filepath.Join(folder, clientSettings, name))
			if err != nil {
				t.Fatal(err)
			}
			if stat := info.Sys().(*syscall.Stat_t); info.Mode() != want.mode || stat.Uid != want.owner || stat.Gid != want.owner {
				t.Errorf("%s/%s: %s of %d, want %s of %d", folder, name, info.Mode(), stat.Uid, want.mode, want.owner)
			}
		}
	}
}

// A later start keeps the copy of the first one.
func TestCopyIsMadeOnce(t *testing.T) {
	c := settled(t)
	if err := os.WriteFile(c.path(home, ".docker/config.json"), []byte("of a job"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.keepSettings(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(c.path(first, home, ".docker/config.json")); err != nil || string(text) != "content" {
		t.Errorf("got %q, %v, want the image's file", text, err)
	}
}

func TestForget(t *testing.T) {
	c := &cleaner{root: t.TempDir()}
	if err := c.forget(); err != nil { // no home and no copy
		t.Error(err)
	}
	treetest.Build(t, c.root, "root/", home+"/.docker/config.json", crontab)
	if err := c.forget(); err != nil { // the copy was removed
		t.Error(err)
	}
	if got, want := list(t, c.root), []string{"home/runner/", "root/", "var/spool/cron/crontabs/"}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}
