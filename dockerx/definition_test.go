//go:build linux

package dockerx

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/runnerctl/runnerctl/internal/fleet"
)

// A container made of a definition equals that of containerConfig, except for the parts that each
// tool has itself: names, labels, limits, restarts, and the agent's credential.
func TestDefine(t *testing.T) {
	opened := goldenSpec()
	opened.Syscalls, opened.Devices, opened.Runtime, opened.InnerPrivileged = []string{"perf"}, []string{"fuse"}, "crun", false
	for _, spec := range []fleet.Spec{goldenSpec(), opened} {
		d := Define(spec)
		config, want := containerConfig("ci-7k2p", spec, fleet.Usual)
		want.Ulimits = nil
		pids := d.Pids
		got := &container.HostConfig{
			CapDrop: d.CapDrop, CapAdd: d.CapAdd, SecurityOpt: []string{"seccomp=" + string(d.Seccomp), "apparmor=" + d.AppArmor, "no-new-privileges=false"},
			Init: new(bool), MaskedPaths: []string{}, ReadonlyPaths: []string{}, NetworkMode: container.NetworkMode(d.Network), Tmpfs: d.Tmpfs, Runtime: d.Runtime,
			Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: "ci-7k2p-data", Target: d.DataRoot}}, RestartPolicy: want.RestartPolicy,
			LogConfig: container.LogConfig{Type: "json-file", Config: d.Log},
			Resources: container.Resources{NanoCPUs: int64(d.CPUs * 1e9), Memory: d.Memory, PidsLimit: &pids},
		}
		for _, path := range d.Devices {
			got.Devices = append(got.Devices, container.DeviceMapping{PathOnHost: path, PathInContainer: path, CgroupPermissions: "rwm"})
		}
		for _, one := range d.Binds {
			if one != "/sys:/sys-rw" {
				t.Errorf("bind %s, want only the sysfs", one)
			}
			got.Mounts = append(got.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/sys", Target: sysfs})
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
		if d.Image != config.Image || d.StopSeconds != *config.StopTimeout || !slices.Equal(d.Env, config.Env) {
			t.Errorf("got %+v, want the values of %+v", d, config)
		}
	}
}

// A definition has no agent, whose credential would come from runnerctl.
func TestDefineWithoutAgent(t *testing.T) {
	spec := goldenSpec()
	spec.Agent = fleet.Agent{Mode: fleet.JIT, URL: "https://github.com/acme/api"}
	if got := agentOf(Define(spec).Env); got.Mode != fleet.NoAgent {
		t.Errorf("got %+v, want no agent", got)
	}
}

// An engine gives the same flat profile to the runtime.
func TestFlatSeccomp(t *testing.T) {
	capabilities := []string{"CAP_SETUID", "CAP_SETGID"}
	want, err := seccomp.LoadProfile(string(seccompProfile), &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: capabilities}}})
	if err != nil {
		t.Fatal(err)
	}
	arches := map[specs.Arch]string{specs.ArchX86_64: "amd64", specs.ArchAARCH64: "arm64"}
	text, err := FlatSeccomp(seccompProfile, arches[want.Architectures[0]], capabilities)
	if err != nil {
		t.Fatal(err)
	}
	var got specs.LinuxSeccomp
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, *want)
	}
	for _, arch := range slices.Sorted(maps.Values(arches)) {
		if text, err := FlatSeccomp(seccompProfile, arch, capabilities); err != nil || len(text) < 1000 {
			t.Errorf("%s: %d bytes, %v", arch, len(text), err)
		}
	}
	if _, err := FlatSeccomp(seccompProfile, "mips", capabilities); err == nil {
		t.Error("no error for an unknown architecture")
	}
}
