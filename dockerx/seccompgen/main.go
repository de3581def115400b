//go:build linux

// Seccompgen writes the runners' seccomp profile to standard output: Docker's own default
// profile plus the system calls that a rootless daemon needs beyond it.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const enosys = uint(38)

// personalities are the bits of personality(2) that change the caller's own memory layout and
// names, as setarch sets them. Docker's profile allows four combinations of them.
const personalities = 0x0008 | 0x0020000 | 0x0040000 | 0x0200000 | 0x0400000 | 0x8000000

func main() {
	profile := seccomp.DefaultProfile()
	errno := enosys
	profile.Syscalls = append(profile.Syscalls,
		// For the user namespace, its mounts, and chroot in the inner containers, which
		// inherit this filter.
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names:  []string{"chroot", "clone", "mount", "pivot_root", "sethostname", "setns", "umount2", "unshare"},
			Action: specs.ActAllow,
		}},
		// The kernel itself grants these only for the caller's own memory and processes.
		// Docker's profile makes them depend on capabilities that a runner lacks.
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names:  []string{"get_mempolicy", "kcmp", "mbind", "pidfd_getfd", "process_madvise", "set_mempolicy", "set_mempolicy_home_node"},
			Action: specs.ActAllow,
		}},
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names:  []string{"personality"},
			Action: specs.ActAllow,
			Args:   []specs.LinuxSeccompArg{{Index: 0, Value: 1<<32 - 1 - personalities, ValueTwo: 0, Op: specs.OpMaskedEqual}},
		}},
		// keyctl: if it were allowed, every inner container would take one of the 200 session
		// keys that all runners of a host share; with ENOSYS, runc goes on without one. The
		// new mount calls and io_uring: programs fall back to the older calls only on ENOSYS.
		// runners.syscalls opens io_uring (seccomp.go).
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names:    []string{"add_key", "fsconfig", "fsmount", "fsopen", "fspick", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl", "mount_setattr", "move_mount", "open_tree", "request_key"},
			Action:   specs.ActErrno,
			ErrnoRet: &errno,
		}},
	)
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "\t")
	if err := out.Encode(profile); err != nil {
		log.Fatal(err)
	}
}
