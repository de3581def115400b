package commands

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/runnerctl/runnerctl/internal/hint"
)

// machines are those of Linux that runnerctl is built for, by what uname calls them.
var machines = map[string]struct {
	goarch string
	elf    elf.Machine
}{
	"x86_64":  {"amd64", elf.EM_X86_64},
	"aarch64": {"arm64", elf.EM_AARCH64},
}

// checkProgram tells why a file can't be run in a container of its own on a machine of
// that architecture, as uname says it.
func checkProgram(path, arch string) error {
	program, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s: no program of Linux: %w", path, err)
	}
	defer func() { _ = program.Close() }()
	if program.Machine != machines[arch].elf {
		return fmt.Errorf("%s: it is for %s, the engine's machine is %s", path, program.Machine, arch)
	}
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s: it needs libraries, which no container of its own has (CGO_ENABLED=0 builds it without)", path)
		}
	}
	return nil
}

// supervisorProgram is the runnerctl that is to run on the engine's machine: the file
// that was named, else one beside this program's, else this one.
func supervisorProgram(named, arch string) ([]byte, error) {
	if _, known := machines[arch]; !known {
		return nil, fmt.Errorf("no runnerctl for the engine's machine, which is %s", arch)
	}
	advice := "make build makes a static runnerctl (GOARCH=" + machines[arch].goarch + "): put it beside this program as runnerctl-linux-" + machines[arch].goarch +
		", or name it: --supervisor-binary FILE; --no-supervisor leaves no supervisor behind"
	if named != "" {
		if err := checkProgram(named, arch); err != nil {
			return nil, hint.Add(fmt.Errorf("--supervisor-binary: %w", err), advice)
		}
		return os.ReadFile(named)
	}
	own, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("supervisor's program: %w", err)
	}
	var unfit []error
	for _, path := range []string{filepath.Join(filepath.Dir(own), "runnerctl-linux-"+machines[arch].goarch), own} {
		if err := checkProgram(path, arch); err == nil {
			return os.ReadFile(path)
		} else if !errors.Is(err, os.ErrNotExist) {
			unfit = append(unfit, err)
		}
	}
	return nil, hint.Add(fmt.Errorf("supervisor's program: %w", errors.Join(unfit...)), advice)
}

// bundles are where systems keep the authorities that they trust.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

// systemRoots are this machine's authorities; none where they lie in no file: then the
// supervisor trusts those that its program brings along.
func systemRoots() []byte {
	for _, path := range bundles {
		if roots, err := os.ReadFile(path); err == nil {
			return roots
		}
	}
	return nil
}
