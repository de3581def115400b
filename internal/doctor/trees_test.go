package doctor

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

// tree reads a captured machine. A number behind a file's name is its mode.
func tree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, file := range txtar.Parse(text).Files {
		path, mode, _ := strings.Cut(file.Name, " ")
		bits, err := strconv.ParseUint(mode, 8, 32)
		if mode == "" {
			bits = 0o444
		} else if err != nil {
			t.Fatal(err)
		}
		files[path] = &fstest.MapFile{Data: file.Data, Mode: fs.FileMode(bits)}
	}
	return files
}

// common has the facts that both machines share and every source reports. Some limits are the
// kernel's own defaults, where it has the least memory (fs/notify/inotify,
// security/keys/key.c).
func common(files fstest.MapFS) Facts {
	for path, content := range map[string]string{"fs/inotify/max_user_instances": "8192\n", "fs/inotify/max_user_watches": "655360\n", "fs/nr_open": "1048576\n", "vm/max_map_count": "262144\n", "kernel/keys/maxkeys": "200\n", "kernel/keys/maxbytes": "20000\n"} {
		files["proc/sys/"+path] = &fstest.MapFile{Data: []byte(content), Mode: 0o444}
	}
	pool := netip.MustParsePrefix("10.213.0.0/16")
	return Facts{
		Client: Client{OS: "linux", User: "ada"}, Endpoint: "unix:///var/run/docker.sock", Local: true,
		Wanted:  Wanted{Count: 1, CPUs: 2, Memory: 4 << 30, Pool: pool, Base: []string{"debian:trixie-slim"}, Missing: []string{"debian:trixie-slim"}, Driver: "slirp4netns", IDs: 65536},
		Machine: Machine{Root: files, Process: "proc/1", OwnNetwork: true, Limits: limitsOf("1048576", "unlimited")},
		Space:   Space{Free: 50 << 30, Inodes: 5_000_000, AllInodes: 6_000_000},
		Container: Container{
			Mounts: "100 50 0:60 / / rw,relatime - overlay overlay rw\n101 100 0:61 / /proc rw - proc proc rw\n", Limits: limitsOf("1048576", "8388608"),
			Way: Way{Asked: true, Target: "github.com:443", Reached: true, Servers: []string{"192.0.2.53"}, Answers: map[string]bool{"192.0.2.53": true}},
		},
		GitHub: GitHub{Host: "github.com", Agent: Agent{Version: "2.330.0", Newest: "2.330.0"}},
		Image:  goodImage(),
		Rootfs: Rootfs{Image: "runnerctl/runner:0123456789ab", Profile: "standard", Buildx: "0.31.1"},
	}
}

// limitsOf is a /proc/PID/limits with such hard limits.
func limitsOf(files, locked string) string {
	return "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max cpu time              unlimited            unlimited            seconds   \n" +
		fmt.Sprintf("Max open files            %-20s %-20s files     \n", "1024", files) +
		fmt.Sprintf("Max locked memory         %-20s %-20s bytes     \n", "8388608", locked) +
		"Max nice priority         0                    0                    \n"
}

// debian12 is the machine of testdata/debian12.txtar.
func debian12(t *testing.T) Facts {
	facts := common(tree(t, "debian12"))
	facts.Engine = Engine{
		Version: "20.10.24+dfsg1", API: "1.41", Kernel: "6.18.44", System: "Debian GNU/Linux 12 (bookworm)", Name: "vm",
		StorageDriver: "overlay2", RootDir: "/var/lib/docker", StorageStatus: map[string]string{"Backing Filesystem": "extfs", "Supports d_type": "true", "userxattr": "false"},
		Cgroup: "1", CgroupDriver: "cgroupfs", SecurityOptions: []string{"name=seccomp,profile=default"}, Runtimes: []string{"io.containerd.runc.v2", "runc"}, DefaultRuntime: "runc",
		CPUs: 2, Memory: 23 << 30, Networks: []Network{{Name: "bridge", Default: true, MTU: 1400, Blocks: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}}, {Name: "host"}, {Name: "none"}},
	}
	return facts
}

// debian13 is the machine of testdata/debian13.txtar.
func debian13(t *testing.T) Facts {
	facts := common(tree(t, "debian13"))
	facts.Engine = Engine{
		Version: "26.1.5+dfsg1", API: "1.45", Kernel: "6.12.94+deb13-amd64", System: "Debian GNU/Linux 13 (trixie)", Name: "debian",
		StorageDriver: "overlay2", RootDir: "/var/lib/docker", StorageStatus: map[string]string{"Backing Filesystem": "extfs", "Supports d_type": "true", "Using metacopy": "false", "Native Overlay Diff": "true", "userxattr": "false"},
		Cgroup: "2", CgroupDriver: "systemd", SecurityOptions: []string{"name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"}, Runtimes: []string{"io.containerd.runc.v2", "runc"}, DefaultRuntime: "runc",
		CPUs: 2, Memory: 8 << 30, Networks: []Network{{Name: "bridge", Default: true, MTU: 1500, Blocks: []netip.Prefix{netip.MustParsePrefix("172.17.0.0/16")}}, {Name: "host"}, {Name: "none"}},
	}
	return facts
}

// goodImage is a runner image of two trees, as far as checks look.
func goodImage() Image {
	return Image{Name: "runnerctl/runner:x", User: "1001:1001", Files: map[string]File{
		"etc/passwd":                    {Text: "root:x:0:0:root:/root:/bin/bash\nrunner:x:1001:1001::/home/runner:/bin/bash\n"},
		"etc/subuid":                    {Text: "runner:100000:65536\n"},
		"etc/subgid":                    {Text: "runner:100000:65536\n"},
		"usr/bin/newuidmap":             {Mode: 0o755, Capabilities: capabilities(capSetuid)},
		"usr/bin/newgidmap":             {Mode: 0o755, Capabilities: capabilities(capSetgid)},
		"usr/bin/unshare":               {Mode: 0o755},
		"usr/bin/slirp4netns":           {Mode: 0o755},
		"usr/bin/bash":                  {Mode: 0o755},
		"rootfs/usr/sbin/dockerd":       {Mode: 0o755, UID: 1001},
		"rootfs/usr/bin/containerd":     {Mode: 0o755, UID: 1001},
		"rootfs/usr/sbin/runc":          {Mode: 0o755, UID: 1001},
		"rootfs/usr/sbin/iptables":      {Mode: 0o755, UID: 1001},
		"rootfs/usr/bin/sudo":           {Mode: 0o755 | fs.ModeSetuid, UID: 1001, GID: 1001},
		"rootfs/usr/bin/chage":          {Mode: 0o755 | fs.ModeSetgid, UID: 1001, GID: 100041},
		"rootfs/usr/lib/something/ping": {Mode: 0o755, UID: 1001, Capabilities: capabilities(13)},
	}}
}

// capabilities are struct vfs_cap_data, version 2, with the effective flag.
func capabilities(bit uint) []byte {
	data := make([]byte, 20)
	data[0], data[3] = 1, 2
	data[4+bit/8] = 1 << (bit % 8)
	return data
}

// replaced is the facts with one file of the machine changed, or with "" removed.
func replaced(facts Facts, path, content string) Facts {
	files := fstest.MapFS{}
	for name, file := range facts.Machine.Root.(fstest.MapFS) { //nolint:errorlint // a type of these tests
		files[name] = file
	}
	delete(files, path)
	if content != "" {
		files[path] = &fstest.MapFile{Data: []byte(content), Mode: 0o444}
	}
	facts.Machine.Root = files
	return facts
}

func chmod(facts Facts, path string, mode fs.FileMode) Facts {
	facts = replaced(facts, path, "x")
	facts.Machine.Root.(fstest.MapFS)[path].Mode = mode //nolint:errorlint // likewise
	return facts
}

func read(t *testing.T, facts Facts, path string) string {
	t.Helper()
	text, err := fs.ReadFile(facts.Machine.Root, path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
