// Package cluster compares a cluster of Kubernetes with the needs of exported runners: the parts that
// it must have, as checks of doctor (pure), and the calls that read it. It imports doctor and hint.
package cluster

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/runnerctl/runnerctl/internal/doctor"
)

// Names of the export's objects.
const (
	class      = "runnerctl"          // the runtime class and its handler
	device     = "dev.runnerctl/tun"  // of the device plugin
	nodeLabel  = "dev.runnerctl/node" // of prepared nodes
	credential = "runnerctl-github"   //nolint:gosec // the name of the scale set's secret
	group      = "actions.github.com" // of the controller's objects
	enforce    = "pod-security.kubernetes.io/enforce"
	enforceAs  = "pod-security.kubernetes.io/enforce-version"
)

// Wanted is an export.
type Wanted struct {
	Namespace string
	Plugin    bool // pods get /dev/net/tun by the device plugin
}

// State is a cluster, as far as it could be read.
type State struct {
	Minor      int               // of Kubernetes 1.Minor
	Labels     map[string]string // of the namespace; nil: there is none
	Handler    string            // of the runtime class; "": there is none
	Nodes      []Node
	Secret     bool
	Controller bool              // the objects of GitHub's controller are known
	Waiting    []Pod             // pods of the namespace that do not run
	Unread     map[string]string // why a part could not be read, by its check
}

// Node is a node.
type Node struct {
	Name, Kernel, Runtime string          // Runtime is like containerd://2.1.9
	Prepared              bool            // it has the label
	Handlers              map[string]bool // of its container runtime; true: with user namespaces
	Devices               int64           // that pods may ask for
}

// Pod is a pod and the words of the node or the runner.
type Pod struct{ Name, Message string }

// Checks returns the checks of a cluster in their order.
func Checks(of State, wanted Wanted) []doctor.Check {
	var all []doctor.Check
	add := func(id, title, why string, run func() doctor.Outcome) {
		id = "cluster." + id
		all = append(all, doctor.Check{ID: id, Title: title, Group: "Cluster", Severity: doctor.Mandatory, Why: why, Run: func(doctor.Facts) doctor.Outcome {
			if reason := of.Unread[id]; reason != "" {
				return doctor.Outcome{Status: doctor.Skip, Observed: reason}
			}
			return run()
		}})
	}
	add("version", "version", "a pod has a user namespace of its own from Kubernetes 1.33 on", of.version)
	add("namespace", "namespace", "it decides which pods are accepted: the level baseline allows an unmasked /proc from Kubernetes 1.35 on", func() doctor.Outcome { return of.namespace(wanted.Namespace) })
	if !wanted.Plugin {
		add("class", "runtime class", "it gives pods the device /dev/net/tun, which a runner's network needs", of.class)
	}
	add("nodes", "nodes", "runners start only on nodes with the label "+nodeLabel, func() doctor.Outcome {
		if len(of.prepared()) == 0 {
			return fail(fmt.Sprintf("none of %d has the label %s", len(of.Nodes), nodeLabel), "run node/install.sh on a node, then kubectl label node NODE "+nodeLabel+"=true")
		}
		return pass("%d of %d", len(of.prepared()), len(of.Nodes))
	})
	add("kernel", "kernel of the nodes", "earlier kernels can't mount a pod's volumes with other ids (idmapped mounts of tmpfs and overlays)", func() doctor.Outcome {
		return of.each("6.3 or later", "use nodes with Linux 6.3 or later", func(one Node) string { return atLeast(one.Kernel, one.Kernel, 6, 3) })
	})
	add("runtime", "container runtime of the nodes", "user namespaces of pods need containerd 2.0 or later", func() doctor.Outcome {
		return of.each("containerd 2.0 or later", "use nodes with containerd 2.0 or later", func(one Node) string {
			version, is := strings.CutPrefix(one.Runtime, "containerd://")
			if !is {
				return one.Runtime
			}
			return atLeast(version, "containerd "+version, 2, 0)
		})
	})
	if wanted.Plugin {
		add("device", "device plugin", "it gives pods the device /dev/net/tun, which a runner's network needs", func() doctor.Outcome {
			return of.each(device, "apply device-plugin.yaml; kubectl -n runnerctl-system get pods shows the plugin's state", func(one Node) string {
				if one.Devices == 0 {
					return "no " + device
				}
				return ""
			})
		})
	} else {
		add("handler", "runtime class on the nodes", "the class's name means nothing to a node's containerd without the export's part of its settings", func() doctor.Outcome {
			return of.each(class+", with user namespaces", "run node/install.sh on the node and restart its containerd", Node.handler)
		})
	}
	add("secret", "credential", "the scale set registers its runners with it", func() doctor.Outcome {
		if !of.Secret {
			return fail("no secret "+credential+" in "+wanted.Namespace, "kubectl -n "+wanted.Namespace+" create secret generic "+credential+" --from-file=github_token=FILE")
		}
		return pass("secret %s", credential)
	})
	add("controller", "Actions Runner Controller", "it starts a pod for each job", func() doctor.Outcome {
		if !of.Controller {
			return fail("no objects of "+group, "install GitHub's chart gha-runner-scale-set-controller")
		}
		return pass("%s", group)
	})
	add("pods", "pods of runners", "a pod that does not start names its cause only in its state", of.pods)
	return all
}

func pass(format string, values ...any) doctor.Outcome {
	return doctor.Outcome{Status: doctor.Pass, Observed: fmt.Sprintf(format, values...)}
}

func fail(observed, remedy string) doctor.Outcome {
	return doctor.Outcome{Status: doctor.Fail, Observed: observed, Remedy: doctor.Remedy{Text: remedy}}
}

func (s State) version() doctor.Outcome {
	if s.Minor < 33 {
		return fail(fmt.Sprintf("Kubernetes 1.%d", s.Minor), "upgrade the cluster to 1.33 or later")
	}
	return pass("Kubernetes 1.%d", s.Minor)
}

func (s State) namespace(name string) doctor.Outcome {
	level := s.Labels[enforce]
	switch {
	case s.Labels == nil:
		return fail("there is no namespace "+name, "kubectl apply -f namespace.yaml")
	case level == "restricted":
		return fail(name+" enforces restricted, which refuses the capabilities SETUID and SETGID", "kubectl label --overwrite namespace "+name+" "+enforce+"=baseline")
	case level == "baseline" && s.enforced() < 35:
		return fail(fmt.Sprintf("%s enforces baseline of 1.%d, which refuses procMount: Unmasked", name, s.enforced()), "kubectl apply -f namespace-before-1.35.yaml")
	case level == "baseline":
		return pass("%s enforces baseline", name)
	}
	return pass("%s does not enforce baseline", name)
}

// enforced is the version whose level the namespace enforces.
func (s State) enforced() int {
	if _, minor, found := strings.Cut(s.Labels[enforceAs], "v1."); found {
		if number, err := strconv.Atoi(minor); err == nil {
			return number
		}
	}
	return s.Minor
}

func (s State) class() doctor.Outcome {
	switch s.Handler {
	case "":
		return fail("there is no runtime class "+class, "kubectl apply -f runtimeclass.yaml")
	case class:
		return pass("%s", class)
	}
	return fail("the runtime class "+class+" has the handler "+s.Handler, "kubectl replace --force -f runtimeclass.yaml")
}

func (s State) prepared() []Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(one Node) bool { return !one.Prepared })
}

// each applies a check to the prepared nodes. problem returns "" for a node that passes.
func (s State) each(want, remedy string, problem func(Node) string) doctor.Outcome {
	if len(s.prepared()) == 0 {
		return doctor.Outcome{Status: doctor.Skip, Observed: "no node has the label " + nodeLabel}
	}
	var found []string
	for _, one := range s.prepared() {
		if said := problem(one); said != "" {
			found = append(found, one.Name+": "+said)
		}
	}
	if len(found) > 0 {
		return fail(strings.Join(found, "; "), remedy)
	}
	return pass("%s", want)
}

// handler returns the problem of a node's runtime class, or "".
func (n Node) handler() string {
	users, known := n.Handlers[class]
	switch {
	case !known:
		return "its containerd does not know " + class
	case !users:
		return class + " has no user namespaces"
	}
	return ""
}

var numbers = regexp.MustCompile(`^v?(\d+)\.(\d+)`)

// atLeast returns said if a version is too old, or is none.
func atLeast(version, said string, major, minor int) string {
	parts := numbers.FindStringSubmatch(version)
	if parts == nil {
		return said
	}
	first, _ := strconv.Atoi(parts[1])
	second, _ := strconv.Atoi(parts[2])
	if first < major || first == major && second < minor {
		return said
	}
	return ""
}

func (s State) pods() doctor.Outcome {
	if len(s.Waiting) == 0 {
		return pass("none waits")
	}
	one := s.Waiting[0]
	observed := one.Name + ": " + strings.ReplaceAll(strings.TrimSpace(one.Message), "\n", "; ")
	if len(s.Waiting) > 1 {
		observed += fmt.Sprintf(" (and %d more)", len(s.Waiting)-1)
	}
	if known := doctor.Explain(one.Message); known != nil {
		return fail(observed, known.Cure)
	}
	return fail(observed, "kubectl describe pod "+one.Name)
}
