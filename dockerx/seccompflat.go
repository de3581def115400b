package dockerx

import (
	"encoding/json"
	"fmt"
	"slices"
)

// condition limits a rule of an engine's seccomp profile. A minimal kernel is not among them: every
// kernel that runners need is newer.
type condition struct {
	Caps   []string `json:"caps"`
	Arches []string `json:"arches"`
}

// flatRule is a rule as an OCI runtime knows it (LinuxSyscall in
// github.com/opencontainers/runtime-spec).
type flatRule struct {
	Names  []string          `json:"names"`
	Action string            `json:"action"`
	Errno  *uint             `json:"errnoRet,omitempty"`
	Args   []json.RawMessage `json:"args,omitempty"`
}

// FlatSeccomp returns a profile in the form of OCI runtimes, which know no conditions, for a
// container with capabilities (CAP_…) on an architecture (amd64 or arm64). Kubernetes passes a
// node's profiles on in this form.
func FlatSeccomp(profile []byte, arch string, capabilities []string) ([]byte, error) {
	var from struct {
		Default string `json:"defaultAction"`
		Errno   *uint  `json:"defaultErrnoRet"`
		ArchMap []struct {
			Arch string   `json:"architecture"`
			Sub  []string `json:"subArchitectures"`
		} `json:"archMap"`
		Rules []struct {
			flatRule
			Includes condition `json:"includes"`
			Excludes condition `json:"excludes"`
		} `json:"syscalls"`
	}
	if err := json.Unmarshal(profile, &from); err != nil {
		return nil, fmt.Errorf("seccomp profile: %w", err)
	}
	native, known := map[string]string{"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[arch]
	if !known {
		return nil, fmt.Errorf("seccomp profile: unknown architecture %q", arch)
	}
	flat := struct {
		Default string     `json:"defaultAction"`
		Errno   *uint      `json:"defaultErrnoRet,omitempty"`
		Arches  []string   `json:"architectures"`
		Rules   []flatRule `json:"syscalls"`
	}{Default: from.Default, Errno: from.Errno}
	for _, one := range from.ArchMap {
		if one.Arch == native {
			flat.Arches = append([]string{native}, one.Sub...)
		}
	}
	has := func(one string) bool { return slices.Contains(capabilities, one) }
	for _, rule := range from.Rules {
		in, out := rule.Includes, rule.Excludes
		switch {
		case slices.Contains(out.Arches, arch), slices.ContainsFunc(out.Caps, has):
		case len(in.Arches) > 0 && !slices.Contains(in.Arches, arch):
		case slices.ContainsFunc(in.Caps, func(one string) bool { return !has(one) }):
		case len(rule.Names) > 0:
			flat.Rules = append(flat.Rules, rule.flatRule)
		}
	}
	return json.MarshalIndent(flat, "", "\t")
}
