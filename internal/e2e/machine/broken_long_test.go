//go:build linux && long

package machine

import (
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// A runner that a job changed can be restarted, even if the job changed files that a start
// writes.
func TestStartsAgainAfterChanges(t *testing.T) {
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	e2e.Must(t, e2e.Up(name)...)
	runner := e2e.List(t, name)[0]
	for _, change := range []string{
		"mkdir -p /etc/dynamic && echo nameserver 192.0.2.1 >/etc/dynamic/conf && ln -sf /etc/dynamic/conf /etc/resolv.conf", // as resolvconf does
		"ln -sf /nowhere /etc/resolv.conf && ln -sf /usr/lib/runnerctl/init /etc/hosts && ln -sf /etc/passwd /etc/hostname",
		"rm /etc/hosts && mkfifo /etc/hosts && rm /etc/hostname && mkdir -p /etc/hostname/full",
		"ln -f /etc/passwd /etc/hostname", // a hard link to another file
		"umount -l /dev/shm; rmdir /dev/shm; ln -s /run/shm /dev/shm; umount -l /run; rm -rf /run; ln -s /tmp /run",
		"umount -l /dev/null /dev/tty; rm /dev/null /dev/tty; ln -s zero /dev/null; mkfifo /dev/tty",
	} {
		e2e.Runnerctl(t.Context(), "exec", "--root", runner.Name, "--", "bash", "-c", change)
		if err := api.ContainerRestart(t.Context(), runner.ContainerID, container.StopOptions{}); err != nil {
			t.Fatal(err)
		}
		e2e.Eventually(t, time.Minute, "ready after "+change, func() bool { return e2e.List(t, name)[0].Ready })
		e2e.Must(t, "exec", runner.Name, "--", "sh", "-ec", `docker version >/dev/null; sudo true; getent passwd runner >/dev/null; getent hosts "$(hostname)" >/dev/null
			[ -c /dev/null ] && [ -f /etc/hosts ] && grep -q 169.254.213.3 /etc/resolv.conf && sudo apt-get update -qq`)
	}
}
