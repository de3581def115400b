// Package program finds a runnerctl that can run in a container of its own on the engine's
// machine: static, and for that machine's architecture. It may import hint.
package program

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/runnerctl/runnerctl/internal/hint"
)

// machines are the Linux architectures that runnerctl is built for, by the name that uname
// prints.
var machines = map[string]struct {
	goarch string
	elf    elf.Machine
}{
	"x86_64":  {"amd64", elf.EM_X86_64},
	"aarch64": {"arm64", elf.EM_AARCH64},
}

// Check returns an error if a file can't run in a container of its own on a machine of that
// architecture (as uname names it).
func Check(path, arch string) error {
	program, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: not a Linux program: %w", path, err)
	}
	defer func() { _ = program.Close() }()
	if program.Machine != machines[arch].elf {
		return fmt.Errorf("%s: built for %s, but the engine's machine is %s", path, program.Machine, arch)
	}
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s: not a static program, so it can't run in a container of its own (build it with CGO_ENABLED=0)", path)
		}
	}
	return nil
}

// ForSupervisor finds the runnerctl to run on the engine's machine: the named file, otherwise
// runnerctl-linux-ARCH next to this program, otherwise this program.
func ForSupervisor(named, arch string) (file string, err error) {
	if _, known := machines[arch]; !known {
		return "", fmt.Errorf("no runnerctl for the engine's machine, which is %s", arch)
	}
	advice := "make build builds a static runnerctl (GOARCH=" + machines[arch].goarch + "): copy it next to this program as runnerctl-linux-" + machines[arch].goarch +
		", or use --supervisor-binary FILE; --no-supervisor runs without a supervisor"
	if named != "" {
		if err := Check(named, arch); err != nil {
			return "", hint.Add(fmt.Errorf("--supervisor-binary: %w", err), advice)
		}
		return named, nil
	}
	own, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("supervisor's program: %w", err)
	}
	var unfit []error
	for _, path := range []string{filepath.Join(filepath.Dir(own), "runnerctl-linux-"+machines[arch].goarch), own} {
		if err := Check(path, arch); err == nil {
			return path, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			unfit = append(unfit, err)
		}
	}
	return "", hint.Add(fmt.Errorf("supervisor's program: %w", errors.Join(unfit...)), advice)
}

// Own returns the path of this program if it can run unchanged on the engine's machine,
// otherwise "".
func Own(arch string) string {
	if runtime.GOOS != "linux" {
		return ""
	}
	path, err := os.Executable()
	if err != nil || Check(path, arch) != nil {
		return ""
	}
	return path
}
