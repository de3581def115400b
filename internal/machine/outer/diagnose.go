//go:build linux

package outer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/process"
)

// Arguments with which the program does one step of a start, to find the option that denies it.
const (
	TryNothing = "try-nothing"
	TryProc    = "try-proc" // mounts a new proc
)

// diagnose reports which option is missing, after a start that failed before the job's machine
// existed.
func (c *container) diagnose() {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		c.say("%v", err)
		return
	}
	for _, line := range missing(string(status), c.try) {
		c.say("missing: %s", line)
	}
}

// try runs a step in new namespaces.
func (c *container) try(flags uintptr, step string) error {
	own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	ownGroup := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	code, err := c.reaper.Run(process.Spec{
		Path: self, Args: []string{step}, Sys: &syscall.SysProcAttr{Cloneflags: flags, UidMappings: own, GidMappings: ownGroup},
	})
	if err == nil && code != 0 {
		return errors.New("denied")
	}
	return err
}

// missing returns the options that a container lacks, each with the effect that it has.
func missing(status string, try func(flags uintptr, step string) error) (options []string) {
	fields := map[string]string{}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	if fields["NoNewPrivs"] != "0" {
		options = append(options, "privileges that newuidmap and newgidmap gain: run without --security-opt no-new-privileges")
	}
	bounding, _ := strconv.ParseUint(fields["CapBnd"], 16, 64)
	const needed = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	if bounding&needed != needed {
		options = append(options, "capabilities for newuidmap and newgidmap: --cap-add SETUID --cap-add SETGID")
	}
	if len(options) > 0 {
		return options
	}
	// Each step of the machine's creation that one option can deny.
	switch err := try(unix.CLONE_NEWUSER, TryNothing); {
	case errors.Is(err, unix.ENOSPC):
		return []string{"user namespaces: user.max_user_namespaces is 0 or used up on the host: sysctl -w user.max_user_namespaces=28633"}
	case err != nil:
		return []string{"user namespaces: --security-opt seccomp=PROFILE with runnerctl's profile, --security-opt apparmor=unconfined, and on the host kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"}
	}
	if try(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, TryNothing) != nil {
		return []string{"mounts: --security-opt seccomp=PROFILE with runnerctl's profile, --security-opt apparmor=unconfined"}
	}
	if try(unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID, TryProc) != nil {
		return []string{"an unmasked /proc: --security-opt systempaths=unconfined"}
	}
	return nil
}

// suffix returns the end of a runner's name. A random one is kept in the container's own layer,
// which jobs can't reach, so that a container that is started again keeps its name.
func suffix(random bool) string {
	const kept = "/var/lib/runnerctl/suffix"
	if !random {
		name, _ := os.Hostname()
		return name
	}
	if text, err := os.ReadFile(kept); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text))
	}
	number := make([]byte, 6)
	_, _ = rand.Read(number) // it never fails
	made := hex.EncodeToString(number)
	_ = os.WriteFile(kept, []byte(made+"\n"), 0o600) // a read-only container has no name to keep
	return made
}
