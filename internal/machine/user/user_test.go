//go:build linux

package user

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func files(t *testing.T, texts map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range texts {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFind(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nrunner:x:1001:1001::/home/runner:/bin/bash\nother:x:1001:5::/elsewhere:/bin/sh\n"
	const group = "root:x:0:runner\ndocker:x:998:other,runner\nbroken:x\nbad:x:minus:runner\nsudo:x:27:runner\nrunners:x:5:notrunner\n"
	for _, test := range []struct {
		name  string
		texts map[string]string
		uid   uint32
		want  User
	}{
		{"the user of jobs", map[string]string{"etc/passwd": passwd, "etc/group": group}, Runner, User{1001, "runner", "/home/runner", []uint32{1001, 0, 998, 27}}},
		{"root", map[string]string{"etc/passwd": passwd, "etc/group": group}, 0, User{0, "root", "/root", []uint32{0}}},
		{"an unknown user", map[string]string{"etc/passwd": passwd, "etc/group": group}, 7, User{7, "", "/", []uint32{7}}},
		{"no files", nil, Runner, User{1001, "", "/", []uint32{1001}}},
	} {
		if got := Find(files(t, test.texts), test.uid); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

// A job may put a pipe in the place of a file; nobody waits for its writer.
func TestPipeIsNotRead(t *testing.T) {
	root := files(t, map[string]string{"etc/hosts": ""})
	if err := unix.Mkfifo(filepath.Join(root, "etc/passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Find(root, Runner); got.Name != "" {
		t.Errorf("got %+v, want no name", got)
	}
}

func TestEnvironment(t *testing.T) {
	root := files(t, map[string]string{"etc/environment": `LANG="C.UTF-8"
XDG_CONFIG_HOME=$HOME/.config
# a comment
PATH="$HOME/bin:/bin"
1BAD=x
GREETING=say "hello"
`, "usr/local/share/ca-certificates/runnerctl.crt": ""})
	base := []string{"PATH=/outer", "HOSTNAME=ci-aaaa", "XDG_RUNTIME_DIR=/run/user/1001", "RUNNERCTL_SETTINGS={}", "https_proxy=http://proxy", "TERM=xterm"}
	got := Environment(root, User{UID: Runner, Name: "runner", Home: "/home/runner"}, base, []string{"LANG=de_DE.UTF-8", "EMPTY=", "not a variable", "TWO=a=b"})
	want := []string{
		"PATH=/home/runner/bin:/bin", "https_proxy=http://proxy", "TERM=xterm", "HOME=/home/runner", "USER=runner", "LOGNAME=runner", "SHELL=/bin/bash",
		"LANG=de_DE.UTF-8", "XDG_CONFIG_HOME=/home/runner/.config", `GREETING=say "hello"`,
		"NODE_EXTRA_CA_CERTS=/usr/local/share/ca-certificates/runnerctl.crt", "EMPTY=", "TWO=a=b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	got = Environment(t.TempDir(), User{UID: 7, Home: "/"}, nil, nil)
	if want := []string{"HOME=/", "USER=7", "LOGNAME=7", "SHELL=/bin/bash", "PATH=//.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}; !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
