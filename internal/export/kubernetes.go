package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/dockerx"
)

// Cluster describes the nodes of a cluster.
type Cluster struct {
	NoAppArmor  bool   // the nodes' kernels do not use it
	PluginImage string // of the device plugin that gives pods /dev/net/tun; "": a runtime class of containerd does
}

// kubeFleet is a fleet for the templates of Kubernetes.
type kubeFleet struct {
	engineFleet
	Cluster
}

// AppArmor reports whether the nodes have a profile for runners.
func (f kubeFleet) AppArmor() bool { return !f.NoAppArmor }

// Kubernetes writes the objects and the files of nodes for runners in pods, which GitHub's Actions
// Runner Controller starts.
func Kubernetes(of Fleet, on Cluster) (Files, error) {
	if names := of.unfit(); names != "" {
		return nil, fmt.Errorf("%s: a pod can't have this", names)
	}
	view := kubeFleet{engineFleet{of}, on}
	names := []string{"README.md", "namespace.yaml", "namespace-before-1.35.yaml", "smoke-pod.yaml", "values.yaml", "node/install.sh"}
	if on.PluginImage != "" {
		names = append(names, "device-plugin.yaml")
	} else {
		names = append(names, "runtimeclass.yaml", "node/containerd.toml")
	}
	from := map[string]string{}
	for _, name := range names {
		from[name] = "kubernetes/" + name
	}
	made, err := render(view, from)
	if err != nil {
		return nil, err
	}
	if view.AppArmor() {
		if made["node/apparmor"], err = templates.ReadFile("files/kubernetes/node/apparmor"); err != nil {
			return nil, err
		}
	}
	capabilities := []string{}
	for _, one := range of.Runner.CapAdd {
		capabilities = append(capabilities, "CAP_"+one)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		flat, err := dockerx.FlatSeccomp(of.Runner.Seccomp, arch, capabilities)
		if err != nil {
			return nil, err
		}
		made["node/seccomp-"+arch+".json"] = append(flat, '\n')
	}
	if on.PluginImage == "" {
		spec, err := json.MarshalIndent(baseSpec(), "", "\t")
		if err != nil {
			return nil, err
		}
		made["node/containerd-spec.json"] = append(spec, '\n')
	}
	return made, nil
}

// unfit returns the settings that no pod can have, or "".
func (f Fleet) unfit() string {
	var names []string
	if extra := slices.DeleteFunc(slices.Clone(f.Runner.Devices), func(path string) bool { return path == "/dev/net/tun" }); len(extra) > 0 {
		names = append(names, "runners.devices")
	}
	if f.Runner.Runtime != "" {
		names = append(names, "runners.runtime")
	}
	return strings.Join(names, ", ")
}

// Namespace returns the namespace of a fleet's runners.
func Namespace(fleet string) string { return "runnerctl-" + fleet }

// Namespace is the namespace of the runners.
func (f kubeFleet) Namespace() string { return Namespace(f.Name) }

// RunnerGroup is the group at GitHub; "" for the default one.
func (f kubeFleet) RunnerGroup() string {
	if f.Group == "Default" {
		return ""
	}
	return f.Group
}

// Environment is the environment of the container, without the agent's credential.
func (f kubeFleet) Environment() map[string]string {
	all := map[string]string{}
	for _, pair := range f.Runner.Env {
		name, value, _ := strings.Cut(pair, "=")
		all[name] = strings.ReplaceAll(value, "$(", "$$(") // else a reference to a variable
	}
	return all
}

// CPU is a quantity of processors.
func (f kubeFleet) CPU() string { return strconv.FormatInt(int64(f.Runner.CPUs*1000), 10) + "m" }

// Memory is a quantity of bytes.
func (f kubeFleet) Memory() string { return strconv.FormatInt(f.MiB(f.Runner.Memory), 10) + "Mi" }

// Pod returns the spec of a pod, indented.
func (f kubeFleet) Pod(indent int) (string, error) {
	made, err := render(f, map[string]string{"pod": "kubernetes/pod.yaml"})
	if err != nil {
		return "", fmt.Errorf("pod: %w", err)
	}
	margin := strings.Repeat(" ", indent)
	text := strings.TrimRight(string(made["pod"]), "\n")
	return margin + strings.ReplaceAll(text, "\n", "\n"+margin), nil
}
