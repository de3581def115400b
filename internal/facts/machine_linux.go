package facts

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
)

// isHere reports whether the engine's machine is the machine of this process. A local
// socket may lead into a VM (Docker Desktop) or, from a container, out of it.
func isHere(endpoint dockerx.Endpoint, reported dockerx.Facts) bool {
	name, err := os.Hostname()
	if err != nil || !endpoint.Local() || name != reported.Name {
		return false
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil || string(bytes.TrimSpace(kernel)) != reported.Kernel {
		return false
	}
	memory, err := os.ReadFile("/proc/meminfo")
	var kib int64
	if err != nil {
		return false
	}
	if _, err := fmt.Sscanf(string(memory), "MemTotal: %d kB", &kib); err != nil {
		return false
	}
	return kib<<10 == reported.Memory
}

// machineHere is this machine as the engine's process sees it, which may be in namespaces of
// its own. A user that may not look there gets the machine as this process sees it.
func machineHere(endpoint dockerx.Endpoint) doctor.Machine {
	pid := listener(strings.TrimPrefix(endpoint.Host, "unix://"))
	root := fmt.Sprintf("/proc/%d/root", pid)
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid)) // empty if it can't be read
	if _, err := os.Stat(filepath.Join(root, "proc/1/uid_map")); err == nil {
		return doctor.Machine{Root: os.DirFS(root), Process: "proc/1", OwnNetwork: sameNetwork(pid), Limits: string(limits)}
	}
	return doctor.Machine{Root: os.DirFS("/"), Process: fmt.Sprintf("proc/%d", pid), OwnNetwork: sameNetwork(pid), Limits: string(limits)}
}

// sameNetwork reports whether a process is in the network namespace of this one: each
// namespace has its own file of devices. (Other users can't read the link below /proc/PID/ns.)
func sameNetwork(pid int32) bool {
	mine, err := os.Stat("/proc/self/net/dev")
	if err != nil {
		return false
	}
	its, err := os.Stat(fmt.Sprintf("/proc/%d/net/dev", pid))
	return err == nil && os.SameFile(mine, its)
}

// listener returns the process that listens on a socket: the engine, or the process that
// started the engine by socket activation. It returns 1 if the process is unknown.
func listener(socket string) int32 {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return 1
	}
	defer func() { _ = connection.Close() }()
	raw, err := connection.(*net.UnixConn).SyscallConn() //nolint:errorlint // Dial's type for "unix"
	if err != nil {
		return 1
	}
	pid := int32(1)
	_ = raw.Control(func(fd uintptr) { // on failure, process 1 stays
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil && peer.Pid > 0 {
			pid = peer.Pid
		}
	})
	return pid
}

// spaceHere returns the free space of the file system below the engine's root.
func spaceHere(endpoint dockerx.Endpoint, rootDir string) (doctor.Space, error) {
	pid := listener(strings.TrimPrefix(endpoint.Host, "unix://"))
	space, err := spaceAt(filepath.Join(fmt.Sprintf("/proc/%d/root", pid), rootDir))
	if err != nil {
		space, err = spaceAt(rootDir)
	}
	return space, err
}

func spaceAt(path string) (doctor.Space, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return doctor.Space{}, fmt.Errorf("%s: %w", path, err)
	}
	return doctor.Space{Free: int64(stat.Bavail) * stat.Bsize, Inodes: int64(stat.Ffree), AllInodes: int64(stat.Files)}, nil
}
