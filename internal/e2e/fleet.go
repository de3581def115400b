//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/fleet"
)

// NewFleet makes up a fleet name for this test and removes the fleet at the test's end.
func NewFleet(t *testing.T, api *client.Client) string {
	t.Helper()
	t.Chdir(t.TempDir())
	name := fleet.NewName("t", map[string]bool{})
	t.Cleanup(func() {
		if code, _, stderr := Runnerctl(context.Background(), "down", "--fleet", name); code != 0 {
			t.Errorf("down: exit code %d, want 0: %s", code, stderr)
		}
		if left := Leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return name
}

// Leftovers returns the names of the containers and volumes of a fleet.
func Leftovers(t *testing.T, api *client.Client, name string) (left []string) {
	t.Helper()
	ours := filters.NewArgs(filters.Arg("label", "dev.runnerctl.fleet="+name))
	containers, err := api.ContainerList(context.Background(), container.ListOptions{All: true, Filters: ours})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range containers {
		left = append(left, one.Names...)
	}
	volumes, err := api.VolumeList(context.Background(), volume.ListOptions{Filters: ours})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range volumes.Volumes {
		left = append(left, one.Name)
	}
	return left
}

// Up returns the command line of an up of the fleet.
func Up(name string, args ...string) []string {
	return append([]string{"up", "--fleet", name, "--bootstrap-base", "--progress", "plain"}, args...)
}

// List returns the runners of a fleet, as ps lists them.
func List(t *testing.T, name string) (runners []fleet.Runner) {
	t.Helper()
	if err := json.Unmarshal([]byte(Must(t, "ps", "--fleet", name, "-o", "json")), &runners); err != nil {
		t.Fatal(err)
	}
	return runners
}

// IDs returns the sorted container IDs of runners.
func IDs(runners []fleet.Runner) (all []string) {
	for _, runner := range runners {
		all = append(all, runner.ContainerID)
	}
	slices.Sort(all)
	return all
}

// InspectSecurity compares the container that the engine made with the security model.
func InspectSecurity(t *testing.T, api *client.Client, runner fleet.Runner) {
	t.Helper()
	info, err := api.ContainerInspect(t.Context(), runner.ContainerID)
	if err != nil {
		t.Fatal(err)
	}
	host := info.HostConfig
	if host.Privileged || !slices.Equal(host.CapDrop, []string{"ALL"}) || len(host.CapAdd) != 2 {
		t.Errorf("privileged %v, capabilities +%v -%v, want not privileged, +SETUID +SETGID, -ALL", host.Privileged, host.CapAdd, host.CapDrop)
	}
	for _, capability := range host.CapAdd {
		if name := strings.TrimPrefix(capability, "CAP_"); name != "SETUID" && name != "SETGID" {
			t.Errorf("capability %s, want SETUID or SETGID", capability)
		}
	}
	if len(host.Devices) != 1 || host.Devices[0].PathOnHost != "/dev/net/tun" {
		t.Errorf("devices %v, want /dev/net/tun alone", host.Devices)
	}
	for _, mount := range info.Mounts {
		if mount.Type == "bind" && mount.Source != "/sys" {
			t.Errorf("host path %s, want /sys alone", mount.Source)
		}
	}
	if !strings.HasPrefix(host.SecurityOpt[0], "seccomp={") {
		t.Errorf("security option %.40q, want %q at the beginning", host.SecurityOpt[0], "seccomp={")
	}
	if host.Memory == 0 || host.NanoCPUs == 0 || host.PidsLimit == nil || *host.PidsLimit == 0 {
		t.Errorf("memory %d, CPUs %d, want limits of both, and of processes", host.Memory, host.NanoCPUs)
	}
	if host.NetworkMode.IsHost() || host.PidMode.IsHost() || host.IpcMode.IsHost() {
		t.Errorf("namespaces: network %q, pid %q, ipc %q, want none of the host's", host.NetworkMode, host.PidMode, host.IpcMode)
	}
	top, err := api.ContainerTop(t.Context(), runner.ContainerID, []string{"-eo", "uid,pid,comm"})
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range top.Processes {
		if process[0] == "0" {
			t.Errorf("%v is uid 0 on the host", process)
		}
	}
}

// InterruptedLeavesNothing runs a command line and interrupts it after the given time. If the
// command finishes earlier, as on a quick machine, it is run again and interrupted sooner.
func InterruptedLeavesNothing(t *testing.T, api *client.Client, after time.Duration, line func(name string) []string) {
	t.Helper()
	for {
		name := NewFleet(t, api)
		ctx, cancel := context.WithCancelCause(t.Context())
		begun := time.Now()
		timer := time.AfterFunc(after, func() { cancel(commands.ErrInterrupted) })
		code, _, stderr := Runnerctl(ctx, line(name)...)
		timer.Stop()
		if code == 0 && time.Since(begun) < after+50*time.Millisecond {
			after /= 2
			continue
		}
		if code != commands.ExitInterrupted {
			t.Errorf("after %s: code %d, want %d: %s", after, code, commands.ExitInterrupted, stderr)
		}
		if left := Leftovers(t, api, name); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return
	}
}
