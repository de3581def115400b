//go:build linux

package outer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/process"
)

// Arguments with which the program does one step of a start, to find the option that denies it.
const (
	TryNothing = "try-nothing"
	TryProc    = "try-proc" // mounts a new proc
)

// knobs are the options that a runner needs, in the words of the program that starts containers.
type knobs struct {
	tun, tunMode, runtime, escalation, capabilities, users, mounts, proc, ids string
}

var (
	docker = knobs{
		tun:          "--device /dev/net/tun",
		tunMode:      "chmod 0666 /dev/net/tun on the host",
		runtime:      "--tmpfs %s:uid=1001,gid=1001,mode=700,exec",
		escalation:   "run without --security-opt no-new-privileges",
		capabilities: "--cap-add SETUID --cap-add SETGID",
		users:        "--security-opt seccomp=PROFILE with runnerctl's profile, --security-opt apparmor=unconfined, and on the host kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0",
		mounts:       "--security-opt seccomp=PROFILE with runnerctl's profile, --security-opt apparmor=unconfined",
		proc:         "--security-opt systempaths=unconfined",
		ids:          "start it on an engine without userns-remap",
	}
	kubernetes = knobs{
		tun:          "runtimeClassName: runnerctl, on a node that install.sh of the export prepared",
		tunMode:      "chmod 0666 /dev/net/tun on the node, as install.sh of the export does",
		runtime:      "an emptyDir at %s",
		escalation:   "leave allowPrivilegeEscalation unset",
		capabilities: "capabilities: {drop: [ALL], add: [SETUID, SETGID]}",
		users:        "seccompProfile: {type: Localhost, localhostProfile: runnerctl.json}, appArmorProfile: {type: Localhost, localhostProfile: runnerctl}, and on the node kernel.unprivileged_userns_clone=1",
		mounts:       "appArmorProfile: {type: Localhost, localhostProfile: runnerctl}, seccompProfile: {type: Localhost, localhostProfile: runnerctl.json}",
		proc:         "procMount: Unmasked, with hostUsers: false",
		ids:          "build the image with runnerctl build --for kubernetes, or raise userNamespaces.idsPerPod of the kubelet",
	}
)

// knobsHere are those of this container. A kubelet sets the variable in every pod.
func knobsHere() knobs {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return kubernetes
	}
	return docker
}

// diagnose reports which option is missing, after a start that failed before the job's machine
// existed.
func (c *container) diagnose() {
	var texts []string
	for _, path := range []string{"/proc/self/status", "/proc/self/uid_map", "/etc/subuid"} {
		text, err := os.ReadFile(path)
		if err != nil {
			c.say("%v", err)
			return
		}
		texts = append(texts, string(text))
	}
	on := knobsHere()
	lines := missing(texts[0], on, c.try)
	if len(lines) == 0 {
		lines = missingIDs(texts[1], texts[2], on)
	}
	for _, line := range lines {
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
func missing(status string, on knobs, try func(flags uintptr, step string) error) (options []string) {
	fields := map[string]string{}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	if fields["NoNewPrivs"] != "0" {
		options = append(options, "privileges that newuidmap and newgidmap gain: "+on.escalation)
	}
	bounding, _ := strconv.ParseUint(fields["CapBnd"], 16, 64)
	const needed = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	if bounding&needed != needed {
		options = append(options, "capabilities for newuidmap and newgidmap: "+on.capabilities)
	}
	if len(options) > 0 {
		return options
	}
	// Each step of the machine's creation that one option can deny.
	switch err := try(unix.CLONE_NEWUSER, TryNothing); {
	case errors.Is(err, unix.ENOSPC):
		return []string{"user namespaces: user.max_user_namespaces is 0 or used up on the host: sysctl -w user.max_user_namespaces=28633"}
	case err != nil:
		return []string{"user namespaces: " + on.users}
	}
	if try(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, TryNothing) != nil {
		return []string{"mounts: " + on.mounts}
	}
	if try(unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID, TryProc) != nil {
		return []string{"an unmasked /proc: " + on.proc}
	}
	return nil
}

// missingIDs returns the subordinate ids that the container's own user namespace, with that map, lacks.
func missingIDs(uidMap, subuid string, on knobs) (options []string) {
	blocks, err := subordinate(subuid)
	if err != nil {
		return nil // the start has reported it
	}
	own, total := machine.IDRanges(uidMap), int64(0)
	for _, one := range own {
		total += one.Length
	}
	for block := range slices.Chunk(blocks, 3) { // as newuidmap takes them: inside, outside, length
		first, _ := strconv.ParseInt(block[1], 10, 64)
		length, _ := strconv.ParseInt(block[2], 10, 64)
		has := func(one machine.IDRange) bool { return one.Inside <= first && first+length <= one.Inside+one.Length }
		if !slices.ContainsFunc(own, has) {
			options = append(options, fmt.Sprintf("ids %d to %d, of which this container has %d in total: %s", first, first+length-1, total, on.ids))
		}
	}
	return options
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
