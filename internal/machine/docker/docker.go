//go:build linux

// Package docker runs the machine's own containerd and dockerd: their command lines, the
// settings that a job may change, their reports of readiness, and dockerd's socket. It also writes
// the proxy for docker commands. It imports only the machine's settings and processes.
package docker

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/runnerctl/runnerctl/internal/machine"
)

// Places in the machine.
const (
	Socket       = "/run/docker.sock"
	Client       = "/usr/bin/docker"
	SettingsFile = "/etc/docker/daemon.json"
	dataRoot     = "/var/lib/docker"
	containerd   = "/run/containerd/containerd.sock"
)

// Options are the values that runnerctl chooses for dockerd's flags.
type Options struct {
	machine.Docker
	MTU  int
	IPv6 bool // the kernel has it
	// Listens: dockerd gets its socket as a descriptor.
	Listens bool
	Mirror  string // URL of a mirror of Docker Hub; "": none
}

// flag is one of dockerd's flags, with the key of daemon.json that has the same meaning:
// dockerd refuses both together.
type flag struct{ key, name, value string }

func (o Options) flags() []flag {
	mtu := strconv.Itoa(o.MTU)
	host := "unix://" + Socket
	if o.Listens {
		host = "fd://"
	}
	all := []flag{
		{"hosts", "--host", host}, {"group", "--group", "docker"},
		{"data-root", "--data-root", dataRoot}, {"exec-root", "--exec-root", "/run/docker"},
		{"pidfile", "--pidfile", "/run/docker.pid"}, // so a second dockerd detects the first
		{"containerd", "--containerd", containerd},
		{"log-level", "--log-level", "warn"},
		{"log-driver", "--log-driver", "json-file"}, {"log-driver", "--log-opt", "max-size=10m"}, {"log-driver", "--log-opt", "max-file=3"},
		{"mtu", "--mtu", mtu}, {"default-network-opts", "--default-network-opt", "bridge=com.docker.network.driver.mtu=" + mtu},
	}
	for _, pool := range o.Pools {
		all = append(all, flag{"default-address-pools", "--default-address-pool", pool})
	}
	if o.IPv6 {
		all = append(all, flag{"default-address-pools", "--default-address-pool", "base=fd7a:213::/104,size=112"})
	}
	if o.Mirror != "" {
		all = append(all, flag{"registry-mirrors", "--registry-mirror", o.Mirror})
	}
	return append(all, flag{"bip", "--bip", o.Bip})
}

// excludes are keys that exclude a flag with another name.
var excludes = map[string]string{"log-opts": "log-driver", "bridge": "bip", "fixed-cidr": "bip"}

// Arguments returns dockerd's command line for the machine's settings, which may be broken:
// dockerd then says so itself. Since version 28, a rootless dockerd looks for the file in its
// home, so its place is given if it exists.
func (o Options) Arguments(settings []byte, exists bool) []string {
	given := map[string]bool{}
	for _, key := range keys(settings) {
		given[key] = true
		if other := excludes[key]; other != "" {
			given[other] = true
		}
	}
	arguments := []string{"--rootless"}
	if exists {
		arguments = append(arguments, "--config-file", SettingsFile)
	}
	for _, one := range o.flags() {
		if !given[one.key] {
			arguments = append(arguments, one.name, one.value)
		}
	}
	return arguments
}

// keys returns the keys of a JSON object. A broken object has the keys before its fault.
func keys(text []byte) (all []string) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return all
		}
		name, ok := key.(string)
		if !ok {
			return all
		}
		all = append(all, name)
		if decoder.Decode(new(json.RawMessage)) != nil {
			return all
		}
	}
	return all
}

// otherDataRoot returns the folder that the settings name for dockerd's data, or "".
func otherDataRoot(settings []byte) string {
	var read struct {
		DataRoot string `json:"data-root"`
	}
	if json.Unmarshal(settings, &read) != nil {
		return ""
	}
	return read.DataRoot
}

// merge adds the operator's settings to the machine's own ones, key by key. Both are JSON
// objects.
func merge(own, operator []byte) ([]byte, error) {
	var below, above map[string]any
	if err := json.Unmarshal(own, &below); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(operator, &above); err != nil {
		return nil, err
	}
	return json.MarshalIndent(mergeObjects(below, above), "", "  ")
}

func mergeObjects(below, above map[string]any) map[string]any {
	merged := maps.Clone(below)
	if merged == nil {
		merged = map[string]any{}
	}
	for _, key := range slices.Sorted(maps.Keys(above)) {
		under, isObject := merged[key].(map[string]any)
		over, areObjects := above[key].(map[string]any)
		if isObject && areObjects {
			merged[key] = mergeObjects(under, over)
		} else {
			merged[key] = above[key]
		}
	}
	return merged
}
