//go:build linux

package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

//go:embed node/start
var nodeScript string

//go:embed node/etc
var nodeSettings embed.FS

// nodePackages are Debian's for a node. The kubelet and the API server are not among them.
const nodePackages = "apparmor,busybox-static,ca-certificates,containerd,containernetworking-plugins,etcd-server,iproute2,iptables,kmod,kubectl,openssl,procps,runc,systemd-standalone-sysusers,systemd-standalone-tmpfiles"

// NodeOptions describes a node.
type NodeOptions struct {
	Programs string         // the folder of kubelet and kube-apiserver, static
	Prepare  string         // a folder whose install.sh prepares the node before containerd starts
	From     *client.Client // the engine that has Images
	Images   []string       // that the node has from the start
}

// Node is a node of Kubernetes with an API server of its own, and no scheduler and no controllers: a
// test binds its pods. It has its own process, mount and network namespaces, and its own
// /dev/net/tun.
type Node struct {
	Gateway    string // this machine, reachable from pods
	Kubeconfig string // a file on this machine

	dir, group string
	command    *exec.Cmd
}

// StartNode starts a node and ends it with the test. It takes two minutes.
func StartNode(t *testing.T, options NodeOptions) *Node {
	t.Helper()
	NeedRoot(t, "a node", "mmdebstrap")
	dir, err := os.MkdirTemp("", "rctl-")
	if err != nil {
		t.Fatal(err)
	}
	cable := newCable()
	n := &Node{Gateway: cable.here, dir: dir, group: "/" + filepath.Base(dir), Kubeconfig: filepath.Join(dir, "root/etc/kubernetes/admin.yaml")}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	n.makeRoot(t, options)
	n.makeGroups(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	n.command = exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "sh", "-c", nodeScript, "start", dir, cable.address, n.group)
	n.command.Stdout, n.command.Stderr = log, log
	n.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := startFor(n.command); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range []string{"log", "root/var/log/apiserver.log", "root/var/log/containerd.log", "root/var/log/kubelet.log"} {
				t.Logf("%s:\n%s", name, lastOf(filepath.Join(dir, name), 20))
			}
		}
		_ = n.command.Process.Kill()
		_ = n.command.Wait()
	})
	cable.plug(t, n.command, n.log)
	for limit := time.Now().Add(3 * time.Minute); !strings.HasSuffix(n.log(), "node: ready"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(limit) || childOf(n.command) == "" {
			t.Fatalf("the node does not become ready: %s", n.log())
		}
	}
	return n
}

func (n *Node) log() string { return lastOf(filepath.Join(n.dir, "log"), 20) }

// makeRoot makes the node's file system: Debian's packages, the programs, settings and images.
func (n *Node) makeRoot(t *testing.T, options NodeOptions) {
	t.Helper()
	root := filepath.Join(n.dir, "root")
	Debootstrap(t, "sid", nodePackages, root)
	for _, err := range []error{
		writeSettings(root),
		os.CopyFS(filepath.Join(root, "usr/local/bin"), os.DirFS(options.Programs)),
		os.CopyFS(filepath.Join(root, "root/prepare"), os.DirFS(options.Prepare)),
		saveImages(t.Context(), options, root),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// writeSettings writes the settings of node/etc, some of them in the place of Debian's.
func writeSettings(root string) error {
	return fs.WalkDir(nodeSettings, "node/etc", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := nodeSettings.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(root, strings.TrimPrefix(path, "node"))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
}

// pause is the image of the container that holds a pod's namespaces. The node's containerd names it.
const pause = "runnerctl-test/pause:latest"

// saveImages writes an archive of the node's images and of pause, which is made of the node's
// busybox.
func saveImages(ctx context.Context, options NodeOptions, root string) error {
	program, err := os.ReadFile(filepath.Join(root, "usr/bin/busybox"))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	out := tar.NewWriter(&packed)
	if err := out.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := out.Write(program); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := ImportImage(ctx, options.From, pause, &packed, `ENTRYPOINT ["/busybox", "sleep", "infinity"]`); err != nil {
		return err
	}
	defer func() { _, _ = options.From.ImageRemove(ctx, pause, image.RemoveOptions{}) }()
	return save(ctx, options.From, filepath.Join(root, imageArchive), append([]string{pause}, options.Images...)...)
}

// imageArchive is the place of an archive that the node imports.
const imageArchive = "root/images.tar"

func save(ctx context.Context, from *client.Client, path string, images ...string) error {
	stream, err := from.ImageSave(ctx, images)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, stream)
	return errors.Join(err, file.Close())
}

// Import copies images of an engine to the node.
func (n *Node) Import(t *testing.T, from *client.Client, images ...string) {
	t.Helper()
	if err := save(t.Context(), from, filepath.Join(n.dir, "root", imageArchive), images...); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Command(t.Context(), "ctr", "--namespace", "k8s.io", "images", "import", "/"+imageArchive).CombinedOutput(); err != nil {
		t.Fatalf("import: %v: %s", err, out)
	}
}

// makeGroups makes the control group of the node's pods, in each hierarchy, and removes it with the
// test.
func (n *Node) makeGroups(t *testing.T) {
	t.Helper()
	hierarchies := []string{"/sys/fs/cgroup"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil { // version 1
		if hierarchies, err = filepath.Glob("/sys/fs/cgroup/*/cgroup.procs"); err != nil {
			t.Fatal(err)
		}
		for i := range hierarchies {
			hierarchies[i] = filepath.Dir(hierarchies[i])
		}
	}
	for _, one := range hierarchies {
		group := filepath.Join(one, n.group)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, os.ErrExist) { // two names of a hierarchy
			t.Fatal(err)
		}
		t.Cleanup(func() {
			// Groups of processes that are about to end can't be removed yet.
			var out []byte
			var err error
			for range 100 {
				if out, err = exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").CombinedOutput(); err == nil {
					return
				}
				if _, gone := os.Stat(group); gone != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
			t.Errorf("%s: %v: %s", group, err, out)
		})
	}
}

// Command returns a command that runs in the node as root. Its KUBECONFIG is the node's.
func (n *Node) Command(ctx context.Context, words ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "nsenter", append([]string{"--target", childOf(n.command), "--mount", "--net", "--pid", "--wdns=/root"}, words...)...)
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "KUBECONFIG=/etc/kubernetes/admin.yaml"}
	return command
}

// Kubectl runs kubectl with an input, and returns its output.
func (n *Node) Kubectl(t *testing.T, input string, args ...string) (out string, err error) {
	t.Helper()
	command := n.Command(t.Context(), append([]string{"kubectl"}, args...)...)
	command.Stdin = strings.NewReader(input)
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// MustKubectl is like Kubectl, but an error fails the test.
func (n *Node) MustKubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := n.Kubectl(t, input, args...)
	if err != nil {
		t.Fatalf("%s%v", out, err)
	}
	return out
}
