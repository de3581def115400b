package doctor

import "strings"

// LocalRefusal explains why this machine's own engine can't be used.
type LocalRefusal struct{ os string }

func (e *LocalRefusal) Error() string {
	return e.os + " has no Linux kernel of its own: local Docker runs in a hidden VM, and runnerctl can't check or fix its devices (/dev/net/tun is closed there), kernel and user namespaces"
}

// Hint returns the way out.
func (e *LocalRefusal) Hint() string {
	return "use a Linux machine or VM: --host ssh://user@vm, export DOCKER_HOST=ssh://user@vm, or docker context use NAME"
}

// RefuseLocal refuses a local engine on systems other than Linux. A remote engine works from
// every system.
func RefuseLocal(clientOS, endpoint string) error {
	local := endpoint == "" || strings.HasPrefix(endpoint, "unix://") || strings.HasPrefix(endpoint, "npipe://")
	if !local || clientOS == "linux" {
		return nil
	}
	names := map[string]string{"darwin": "macOS", "windows": "Windows"}
	name := names[clientOS]
	if name == "" {
		name = clientOS
	}
	return &LocalRefusal{name}
}
