//go:build linux

// Package rootfs mounts the job root filesystem and pivots into it. It runs as uid 0 of the new
// user namespace and first process of the new process namespace, before any job. In a runner
// that is started again, the files belong to the job: none of its links may lead out of Root,
// and no program is run until the old root is gone. It imports no package of runnerctl.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Places in the outer tree.
const (
	Root = "/rootfs" // the job root filesystem

	// sysfs is a read-write sysfs. The kernel allows a new one only while such a one is visible.
	// Inner `docker run --privileged` needs it; without it, jobs get the engine's read-only one.
	sysfs = "/sys-rw"
)

// NetworkDNS is the network driver's own name server. Its addresses are link-local, so that no
// network of a job hides them.
const NetworkDNS = "169.254.213.3"

// nodes are the devices of a machine, if the container has them.
var nodes = []string{"null", "zero", "full", "random", "urandom", "tty", "net/tun", "fuse", "kvm", "vhost-net", "vhost-vsock"}

// Enter mounts the machine's file systems and pivots into it. Shm is the wanted size of
// /dev/shm in bytes.
func Enter(shm int64) error {
	// Otherwise the host's mounts below this container's files would appear in the machine.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	present := devices("/dev")
	if err := clear(Root, present); err != nil {
		return err
	}
	if err := mountAll(present, shm); err != nil {
		return err
	}
	if err := identify(); err != nil {
		return err
	}
	return pivot()
}

// devices returns the nodes that a folder has.
func devices(dev string) (present []string) {
	for _, node := range nodes {
		if info, err := os.Lstat(filepath.Join(dev, node)); err == nil && info.Mode()&os.ModeSymlink == 0 {
			present = append(present, node)
		}
	}
	return present
}

// clear makes room for mounts and files that a job may have replaced. Links, pipes and folders
// are removed; of the parent folders, only a link would lead out.
func clear(root string, devices []string) error {
	for _, folder := range []string{"etc", "usr", "usr/lib", "usr/lib/runnerctl"} {
		if info, err := os.Lstat(filepath.Join(root, folder)); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return fmt.Errorf("/%s is a link: a job changed this runner, and it can't be restarted", folder)
		}
	}
	for _, folder := range []string{"proc", "sys", "run", "dev", "dev/net", "dev/pts", "dev/shm", "dev/mqueue"} {
		place := filepath.Join(root, folder)
		if info, err := os.Lstat(place); err == nil && info.IsDir() {
			continue
		}
		if err := os.Remove(place); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("/%s: %w", folder, err)
		}
		if err := os.Mkdir(place, 0o755); err != nil {
			return fmt.Errorf("/%s: %w", folder, err)
		}
	}
	files := []string{"etc/resolv.conf", "etc/hosts", "etc/hostname"}
	for _, device := range devices {
		files = append(files, "dev/"+device)
	}
	for _, file := range files {
		if err := clearFile(root, file); err != nil {
			return err
		}
	}
	return nil
}

// clearFile keeps a regular file without hard links, which a write would reach too.
func clearFile(root, file string) error {
	place := filepath.Join(root, file)
	info, err := os.Lstat(place)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("/%s: %w", file, err)
	}
	var stat unix.Stat_t
	if info.Mode().IsRegular() && unix.Lstat(place, &stat) == nil && stat.Nlink == 1 {
		return nil
	}
	if os.Remove(place) == nil {
		return nil
	}
	if err := os.Rename(place, place+".aside"); err != nil {
		return fmt.Errorf("/%s: %w", file, err)
	}
	return nil
}

// mount is mount(2) below Root. Without a type it is a bind mount.
func mount(source, place, kind, options string) error {
	var flags uintptr
	if kind == "" {
		flags = unix.MS_BIND | unix.MS_REC
	}
	if err := unix.Mount(source, filepath.Join(Root, place), kind, flags, options); err != nil {
		what := kind
		if what == "" {
			what = source
		}
		return fmt.Errorf("mount %s at %s: %w", what, filepath.Join(Root, place), err)
	}
	return nil
}

func mountAll(devices []string, shm int64) error {
	memory, err := memory()
	if err != nil {
		return err
	}
	_, err = os.Stat(sysfs + "/kernel")
	own := err == nil
	type step struct{ source, place, kind, options string }
	steps := []step{{Root, "", "", ""}, {"proc", "proc", "proc", ""}}
	if own {
		steps = append(steps, step{"sysfs", "sys", "sysfs", ""}, step{"/sys/fs/cgroup", "sys/fs/cgroup", "", ""})
	} else {
		steps = append(steps, step{"/sys", "sys", "", ""})
	}
	steps = append(steps, step{"tmpfs", "run", "tmpfs", fmt.Sprintf("mode=755,size=%d", memory/8)})
	for _, one := range steps {
		if err := mount(one.source, one.place, one.kind, one.options); err != nil {
			return err
		}
	}
	// Each user namespace has its own since Linux 6.7; before, the machine has none.
	_ = unix.Mount("binfmt_misc", Root+"/proc/sys/fs/binfmt_misc", "binfmt_misc", 0, "")
	if own {
		// `ip netns exec` mounts a sysfs, which the kernel allows only if a sysfs without
		// submounts is visible.
		if err := os.MkdirAll(Root+"/run/runnerctl/sys", 0o755); err != nil {
			return err
		}
		if err := mount("sysfs", "run/runnerctl/sys", "sysfs", ""); err != nil {
			return err
		}
	}
	return mountDev(devices, sharedMemory(shm, memory))
}

// mountDev fills /dev, a folder of the image: with the engine's /dev, sudo can't allocate a
// terminal, and /dev/shm is 64 MB.
func mountDev(devices []string, shm int64) error {
	for _, device := range devices {
		place := filepath.Join(Root, "dev", device)
		if _, err := os.Lstat(place); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(place, nil, 0o644); err != nil {
				return err
			}
		}
		if err := mount("/dev/"+device, "dev/"+device, "", ""); err != nil {
			return err
		}
	}
	return errors.Join(
		mount("devpts", "dev/pts", "devpts", "newinstance,gid=5,mode=620,ptmxmode=666"),
		mount("shm", "dev/shm", "tmpfs", fmt.Sprintf("mode=1777,size=%d", shm)),
		mount("mqueue", "dev/mqueue", "mqueue", ""),
	)
}

// identify writes the machine's name and its name servers.
func identify() error {
	name, err := os.ReadFile("/proc/sys/kernel/hostname")
	if err != nil {
		return err
	}
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	for file, text := range map[string]string{
		"etc/hostname": string(name), "etc/hosts": hosts(strings.TrimSpace(string(name))), "etc/resolv.conf": resolvers(string(resolv)),
	} {
		if err := os.WriteFile(filepath.Join(Root, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes Root the root and removes the old one. As on a machine with systemd, mounts are
// shared: containers may request rslave and rshared.
func pivot() error {
	if err := unix.Chdir(Root); err != nil {
		return fmt.Errorf("%s: %w", Root, err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil { // the old root, which is on top
		return fmt.Errorf("unmount the outer tree: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("/: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make / shared: %w", err)
	}
	return nil
}
