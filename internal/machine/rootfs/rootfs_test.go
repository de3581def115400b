//go:build linux

package rootfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/machine/treetest"
)

func TestResolvers(t *testing.T) {
	for _, test := range []struct{ name, outer, want string }{
		{"none", "", "nameserver 169.254.213.3\n"},
		{"one", "nameserver 10.0.0.2\nsearch example.com\noptions ndots:2\n", "nameserver 10.0.0.2\nnameserver 169.254.213.3\nsearch example.com\noptions ndots:2\n"},
		{"only on the host's loopback", "# by systemd\nnameserver 127.0.0.53\n", "nameserver 169.254.213.3\n"},
		{"a resolver reads three", "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n", "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 169.254.213.3\n"},
		{"no IPv6, to which there is no way", "nameserver fd00::1\nnameserver 10.0.0.1", "nameserver 10.0.0.1\nnameserver 169.254.213.3\n"},
		{"broken lines", "nameserver\nnameserver x\n\noptions\n", "nameserver 169.254.213.3\n"},
	} {
		if got := resolvers(test.outer); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestLeastMemory(t *testing.T) {
	const info = "MemTotal:       1024 kB\nMemFree: 1 kB\n"
	for _, test := range []struct {
		limits []string
		want   int64
	}{
		{nil, 1 << 20},
		{[]string{"max\n"}, 1 << 20},
		{[]string{"4096\n"}, 4096},
		{[]string{"9223372036854771712\n"}, 1 << 20},
	} {
		if got, err := leastMemory(info, test.limits); err != nil || got != test.want {
			t.Errorf("%q: got %d, %v, want %d", test.limits, got, err, test.want)
		}
	}
	if _, err := leastMemory("nothing", nil); err == nil {
		t.Error("no error, want one")
	}
	if got := sharedMemory(1<<30, 1<<20); got != 1<<19 {
		t.Errorf("/dev/shm of %d bytes, want half of the memory", got)
	}
}

// tree makes files in a new folder.
func tree(t *testing.T, entries ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	treetest.Build(t, root, entries...)
	return root
}

// A job may have replaced every place that the next start writes to or mounts over.
func TestClearRemovesWhatAJobPutThere(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := tree(t, "etc/resolv.conf -> "+outside, "etc/hosts|", "etc/hostname/inside", "usr/lib/runnerctl/init",
		"proc -> /", "sys/", "run", "dev/null/", "dev/pts -> /", "dev/random")
	if err := os.Link(outside, filepath.Join(root, "dev/zero")); err != nil {
		t.Fatal(err)
	}
	if err := clear(root, []string{"null", "zero", "random"}); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"proc", "sys", "run", "dev", "dev/net", "dev/pts", "dev/shm", "dev/mqueue"} {
		if info, err := os.Lstat(filepath.Join(root, folder)); err != nil || !info.IsDir() {
			t.Errorf("/%s: %v %v, want a folder", folder, info, err)
		}
	}
	for _, gone := range []string{"etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/null", "dev/zero"} {
		if _, err := os.Lstat(filepath.Join(root, gone)); !os.IsNotExist(err) {
			t.Errorf("/%s: %v, want it gone", gone, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "etc/hostname.aside/inside")); err != nil {
		t.Errorf("a folder that is not empty: %v, want it moved aside", err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "dev/random")); err != nil || string(text) != "content" {
		t.Errorf("/dev/random: %q %v, want it kept", text, err)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "untouched" {
		t.Errorf("a file outside: %q %v, want it untouched", text, err)
	}
}

func TestClearRefusesLinksThatLeadOut(t *testing.T) {
	for _, folder := range []string{"etc", "usr", "usr/lib", "usr/lib/runnerctl"} {
		root := tree(t, folder+" -> /tmp")
		if err := clear(root, nil); err == nil || !strings.Contains(err.Error(), "/"+folder+" is a link: a job changed this runner, and it can't be restarted") {
			t.Errorf("%s: %v, want an error that names the link", folder, err)
		}
	}
}

func TestDevices(t *testing.T) {
	root := tree(t, "null", "tty -> elsewhere", "net/tun", "unknown")
	if got := strings.Join(devices(root), " "); got != "null net/tun" {
		t.Errorf("got %q, want null and net/tun", got)
	}
}
