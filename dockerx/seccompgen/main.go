//go:build linux

// Seccompgen writes the runners' seccomp profile to standard output: Docker's
// own default profile and what a rootless daemon needs beyond it.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const enosys = uint(38)

func main() {
	profile := seccomp.DefaultProfile()
	errno := enosys
	profile.Syscalls = append(profile.Syscalls,
		// The user namespace, its mounts, and chroot for the inner containers,
		// which inherit this filter.
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names:  []string{"chroot", "clone", "mount", "pivot_root", "sethostname", "setns", "umount2", "unshare"},
			Action: specs.ActAllow,
		}},
		// keyctl: allowed, every inner container takes one of the 200 session keys
		// that all runners of a host share; with ENOSYS runc goes on without one.
		// The new mount calls: programs fall back to mount(2) on ENOSYS only.
		&seccomp.Syscall{LinuxSyscall: specs.LinuxSyscall{
			Names:    []string{"fsconfig", "fsmount", "fsopen", "fspick", "keyctl", "mount_setattr", "move_mount", "open_tree"},
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
