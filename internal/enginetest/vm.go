//go:build linux

package enginetest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed guest
var guestScript string

// VM is a Debian 13 machine with its own kernel, emulated by qemu: systemd, cgroup v2,
// AppArmor, sshd, no Docker. It reaches nothing, and only ssh reaches it, as the user admin
// with sudo. Its disk is removed with the test.
type VM struct {
	*SSH

	guest   string // folder in the cache
	command *exec.Cmd
}

// NewVM creates a VM; Boot starts it. It is a copy of a machine that is built once and stays
// in the user's cache.
func NewVM(t *testing.T) *VM {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil || os.Getuid() != 0 {
		t.Fatalf("a VM needs root and the packages of scripts/host/setup.sh --vm (uid %d, %v)", os.Getuid(), err)
	}
	sum := sha256.Sum256([]byte(guestScript))
	vm := &VM{guest: Cached(t, "guest-", hex.EncodeToString(sum[:6]), func(dir string) {
		if out, err := exec.Command("sh", "-c", guestScript, "guest", dir).CombinedOutput(); err != nil {
			t.Fatalf("the VM's disk: %v: %s", err, out)
		}
	})}
	port := freePort(t)
	vm.SSH = &SSH{Address: "ssh://admin@127.0.0.1:" + port, dir: t.TempDir()}
	vm.useKeys(t, "user")
	key, err := os.ReadFile(filepath.Join(vm.guest, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	vm.write(t, "host.pub", string(key), 0o600)
	vm.Know(t, "host")
	for _, words := range [][]string{
		{"cp", "--sparse=always", filepath.Join(vm.guest, "disk"), vm.path("disk")},
		{"debugfs", "-w", "-R", "write " + vm.path("user.pub") + " /etc/ssh/authorized_keys", vm.path("disk")},
	} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", words, err, out)
		}
	}
	t.Cleanup(func() {
		vm.kill()
		if said, err := os.ReadFile(vm.path("console")); t.Failed() && err == nil {
			t.Logf("the VM's console:\n%s", said[max(0, len(said)-3000):])
		}
	})
	return vm
}

// Cached returns a folder of the user's cache. If it does not exist, fill fills it, and other
// folders of the same kind are removed.
func Cached(t *testing.T, kind, name string, fill func(dir string)) (dir string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "runnerctl", "vm")
	dir = filepath.Join(cache, kind+name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	others, err := filepath.Glob(filepath.Join(cache, kind+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range append(others, dir+".new") {
		if err := os.RemoveAll(other); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	fill(dir + ".new")
	if err := os.Rename(dir+".new", dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Boot starts the machine and waits until it is up. docker is a disk that it mounts at
// /var/lib/docker, "" for none; data written there is lost at power-off.
func (vm *VM) Boot(t *testing.T, docker string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(vm.Address[strings.Index(vm.Address, "@")+1:]) //nolint:errcheck // NewVM wrote it
	kernel := "root=/dev/vda rw console=ttyS0 nokaslr systemd.firstboot=no"
	// With cx16, or -cpu max, the emulated kernel panics now and then.
	vm.command = exec.Command("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi",
		"-cpu", "qemu64,-cx16,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand", "-smp", "2", "-m", "3072",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "file:"+vm.path("console"),
		"-kernel", filepath.Join(vm.guest, "kernel"), "-initrd", filepath.Join(vm.guest, "initrd"),
		"-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:"+port+"-:22", "-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-rng-pci", "-drive", "if=virtio,format=raw,cache=unsafe,file="+vm.path("disk"))
	if docker != "" {
		kernel += " systemd.mount-extra=/dev/vdb:/var/lib/docker:ext4"
		vm.command.Args = append(vm.command.Args, "-drive", "if=virtio,format=raw,snapshot=on,file="+docker)
	}
	vm.command.Args = append(vm.command.Args, "-append", kernel)
	var said strings.Builder
	vm.command.Stdout, vm.command.Stderr = &said, &said
	vm.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startFor(vm.command); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(8 * time.Minute); ; time.Sleep(time.Second) {
		// Failed services do not matter for the boot.
		out, err := vm.run("systemctl is-system-running --wait || true")
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			vm.kill()
			t.Fatalf("the VM does not come up: %v: %s%s", err, out, said.String())
		}
	}
}

// PowerOff shuts the machine down, as its operator would.
func (vm *VM) PowerOff(t *testing.T) {
	t.Helper()
	_, _ = vm.run("systemctl poweroff") // the connection ends in the middle of it
	ended := make(chan struct{})
	go func() {
		_ = vm.command.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		vm.command = nil
	case <-time.After(3 * time.Minute):
		t.Fatal("the VM does not go down")
	}
}

func (vm *VM) kill() {
	if vm.command != nil {
		_ = vm.command.Process.Kill()
		_ = vm.command.Wait()
		vm.command = nil
	}
}

// Run runs a script on the VM as root.
func (vm *VM) Run(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := vm.run(script, args...)
	if err != nil {
		t.Fatalf("on the VM: %s: %v: %s", script, err, out)
	}
	return strings.TrimSpace(out)
}

func (vm *VM) run(script string, args ...string) (string, error) {
	host, port, _ := net.SplitHostPort(vm.Address[len("ssh://"):]) //nolint:errcheck // NewVM wrote it
	command := exec.Command("ssh", append([]string{"-T", "-o", "ConnectTimeout=30", "-p", port, host, "sudo", "sh", "-eus", "--"}, args...)...)
	command.Stdin = strings.NewReader(script)
	out, err := command.CombinedOutput()
	return string(out), err
}

// DockerDisk returns a file system for Boot, which fill fills with images through an engine
// on this machine: sending them to an emulated machine takes ten minutes and more.
func DockerDisk(t *testing.T, name string, fill func(*Engine)) string {
	t.Helper()
	return filepath.Join(Cached(t, "docker-", name, func(dir string) {
		engine := Start(t, Options{DiskMiB: 8192, Disk: filepath.Join(dir, "disk")})
		fill(engine)
		engine.Stop(t)
	}), "disk")
}
