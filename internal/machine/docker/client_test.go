//go:build linux

package docker

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/enginetest"
)

func TestClientProxy(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"none", []string{"PATH=/bin", "HTTP_PROXY=http://upper", "no_proxy=localhost"}, ""},
		{"empty", []string{"http_proxy=", "https_proxy="}, ""},
		{"one", []string{"http_proxy=http://p:1/?a=b"}, `{"proxies":{"default":{"httpProxy":"http://p:1/?a=b"}}}`},
		{"all", []string{"http_proxy=h", "https_proxy=s", "no_proxy=n", "https_proxy=last"}, `{"proxies":{"default":{"httpProxy":"h","httpsProxy":"last","noProxy":"n"}}}`},
	} {
		if got := string(ClientProxy(test.env)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

const newSettings = `{"proxies":{"default":{"httpProxy":"new"}}}`

// home returns a home with settings, or without if the text is "".
func home(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	if text == "" {
		return folder
	}
	if err := os.Mkdir(filepath.Join(folder, ".docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, ClientSettings), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

func settings(t *testing.T, home string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, ClientSettings))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(" ", "", "\n", "").Replace(string(text))
}

func TestAddClientSettings(t *testing.T) {
	enginetest.NeedRoot(t, "a change of owners", "sh")
	for _, test := range []struct {
		name, text, want string
		mode             os.FileMode // of the folder
	}{
		{"no file", "", newSettings, 0o700},
		{"other settings are kept", `{"auths":{"a":{}},"proxies":{"tcp://x":{"httpProxy":"x"},"default":{"httpProxy":"old","ftpProxy":"f"}}}`,
			`{"auths":{"a":{}},"proxies":{"default":{"ftpProxy":"f","httpProxy":"new"},"tcp://x":{"httpProxy":"x"}}}`, 0o755},
		{"broken", `{"auths":`, newSettings, 0o755},
		{"null", "null", newSettings, 0o755},
	} {
		folder := home(t, test.text)
		if err := AddClientSettings(folder, 1001, []byte(newSettings)); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := settings(t, folder); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		file, err := os.Stat(filepath.Join(folder, ClientSettings))
		if err != nil {
			t.Fatal(err)
		}
		if file.Mode() != 0o600 || file.Sys().(*syscall.Stat_t).Uid != 1001 || file.Sys().(*syscall.Stat_t).Gid != 1001 {
			t.Errorf("%s: %s of %d, want a file that only 1001 reads", test.name, file.Mode(), file.Sys().(*syscall.Stat_t).Uid)
		}
		above, err := os.Stat(filepath.Join(folder, ".docker"))
		if err != nil {
			t.Fatal(err)
		}
		if made := above.Sys().(*syscall.Stat_t).Uid == 1001; above.Mode().Perm() != test.mode || made != (test.text == "") {
			t.Errorf("%s: the folder is %s of %d, want %s", test.name, above.Mode(), above.Sys().(*syscall.Stat_t).Uid, test.mode)
		}
	}
	folder := home(t, "[]")
	if err := AddClientSettings(folder, 1001, []byte(newSettings)); err == nil || settings(t, folder) != "[]" {
		t.Errorf("a list: %v and %s, want an error and the list", err, settings(t, folder))
	}
}

// In a runner that is started again, a job may have left anything in the home.
func TestNothingOutsideTheHomeIsWritten(t *testing.T) {
	enginetest.NeedRoot(t, "a change of owners", "sh")
	pipe := func(_, place string) error { return unix.Mkfifo(place, 0o600) }
	folder := func(_, place string) error { return os.Mkdir(place, 0o700) }
	for name, test := range map[string]struct {
		place   string
		spoil   func(outside, place string) error
		refused bool
	}{
		"the file is a link":             {ClientSettings, os.Symlink, false},
		"the file is a pipe":             {ClientSettings, pipe, false},
		"the file is a folder":           {ClientSettings, folder, true},
		"the next file is a link":        {ClientSettings + ".new", os.Symlink, false},
		"the next file is a hard link":   {ClientSettings + ".new", os.Link, false},
		"the folder is a link":           {".docker", func(outside, place string) error { return os.Symlink(filepath.Dir(outside), place) }, true},
		"the folder is a link to a file": {".docker", os.Symlink, true},
		"the folder is a pipe":           {".docker", pipe, true},
	} {
		outside := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(outside, []byte(`{"outside":1}`), 0o644); err != nil {
			t.Fatal(err)
		}
		home := t.TempDir()
		place := filepath.Join(home, test.place)
		if test.place != ".docker" {
			if err := os.Mkdir(filepath.Dir(place), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := test.spoil(outside, place); err != nil {
			t.Fatal(err)
		}
		if err := AddClientSettings(home, 1001, []byte(newSettings)); (err != nil) != test.refused {
			t.Errorf("%s: %v, want an error: %t", name, err, test.refused)
		}
		if !test.refused && settings(t, home) != newSettings {
			t.Errorf("%s: got %s, want %s", name, settings(t, home), newSettings)
		}
		stat, err := os.Stat(outside)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(outside); err != nil || string(text) != `{"outside":1}` || stat.Mode() != 0o644 || stat.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s: outside are %q, %s, %v, want no change", name, text, stat.Mode(), err)
		}
		if others, err := os.ReadDir(filepath.Dir(outside)); err != nil || len(others) != 1 {
			t.Errorf("%s: outside are %v, %v, want no new file", name, others, err)
		}
	}
}
