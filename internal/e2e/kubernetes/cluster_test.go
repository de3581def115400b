//go:build linux && k8s

// Package kubernetes tests the exported objects on a real node of Kubernetes.
package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/agenttest"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/ghsim"
	"github.com/runnerctl/runnerctl/internal/machine"
)

const namespace = "runnerctl-ci"

// cluster is a node, with a fleet that was exported for it.
type cluster struct {
	*enginetest.Node
	github      *ghsim.Server
	image       string // built for Kubernetes
	dockerImage string // built for Docker
}

const settings = "image: {agent: {archive: %s}}\nrunners: {cpus: 1, memory: 2g}\ndocker: {start: eager}\n"

// newCluster builds the images, prepares a node by the export's script, and applies the objects of
// the cluster's administrator.
func newCluster(t *testing.T) cluster {
	t.Helper()
	api := e2e.Engine(t)
	t.Chdir(t.TempDir())
	writeSettings(t, "name: ci\ntarget: https://github.com/acme/api\n")
	build := func(platform string) string {
		return strings.TrimSpace(e2e.Must(t, "build", "--bootstrap-base", "--progress", "quiet", "--for", platform))
	}
	c := cluster{image: build("kubernetes"), dockerImage: build("docker")}
	e2e.Must(t, "export", "kubernetes", "--image", c.image, "--out", "k8s", "--no-apparmor")
	c.Node = enginetest.StartNode(t, enginetest.NodeOptions{
		Programs: os.Getenv("KUBERNETES_PROGRAMS"), Prepare: "k8s/node", From: api, Images: []string{c.image, c.dockerImage},
	})
	c.github = e2e.NewGitHub(t, ghsim.Options{RunnerAddress: c.Gateway + ":0"}, "acme/api", "name: ci", fmt.Sprintf(settings, agenttest.Archive(t)))
	e2e.Must(t, "export", "kubernetes", "--image", c.image, "--out", "k8s", "--no-apparmor")
	for _, name := range []string{"namespace.yaml", "runtimeclass.yaml"} {
		c.MustKubectl(t, exported(t, name), "apply", "--validate=strict", "-f", "-")
	}
	// A controller's work: there is none.
	c.MustKubectl(t, "", "--namespace", namespace, "create", "serviceaccount", "default")
	return c
}

// writeSettings writes a runnerctl.yaml into the current folder.
func writeSettings(t *testing.T, first string) {
	t.Helper()
	text := first + fmt.Sprintf(settings, agenttest.Archive(t))
	if err := os.WriteFile("runnerctl.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exported(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("k8s/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// object is a part of a Kubernetes object.
type object = map[string]any

// pod returns the exported pod with another name.
func pod(t *testing.T, name string) object {
	t.Helper()
	var made object
	if err := yaml.Unmarshal([]byte(exported(t, "smoke-pod.yaml")), &made); err != nil {
		t.Fatal(err)
	}
	made["metadata"].(object)["name"] = name
	return made
}

func spec(of object) object { return of["spec"].(object) }

// container is the runner's container of a pod.
func container(of object) object { return spec(of)["containers"].([]any)[0].(object) }

// text is an object in JSON, which kubectl reads too.
func text(t *testing.T, of object) string {
	t.Helper()
	made, err := json.Marshal(of)
	if err != nil {
		t.Fatal(err)
	}
	return string(made)
}

// create creates a pod and removes it with the test. The scheduler's work is done here: there is
// none.
func (c cluster) create(t *testing.T, made object) (name string) {
	t.Helper()
	name = made["metadata"].(object)["name"].(string)
	c.MustKubectl(t, text(t, made), "apply", "--validate=strict", "-f", "-")
	t.Cleanup(func() {
		out, err := c.Command(context.Background(), "kubectl", "--namespace", namespace, "delete", "pod", name, "--ignore-not-found", "--now").CombinedOutput()
		if err != nil {
			t.Errorf("delete pod %s: %v: %s", name, err, out)
		}
	})
	binding := object{"apiVersion": "v1", "kind": "Binding", "metadata": object{"name": name}, "target": object{"apiVersion": "v1", "kind": "Node", "name": "node"}}
	c.MustKubectl(t, text(t, binding), "create", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+name+"/binding", "-f", "-")
	return name
}

// start creates a pod and waits until its runner is ready.
func (c cluster) start(t *testing.T, made object) (name string) {
	t.Helper()
	name = c.create(t, made)
	if out, err := c.Kubectl(t, "", "--namespace", namespace, "wait", "--for=jsonpath={.status.phase}=Running", "--timeout=60s", "pod/"+name); err != nil {
		t.Fatalf("%s%v\n%s", out, err, c.describe(t, name))
	}
	if out, err := c.Kubectl(t, "", "--namespace", namespace, "exec", name, "--", "/usr/lib/runnerctl/wait-ready"); err != nil {
		t.Fatalf("%s%v\n%s", out, err, c.describe(t, name))
	}
	return name
}

// describe returns the words of Kubernetes and of the runner.
func (c cluster) describe(t *testing.T, name string) string {
	t.Helper()
	described, _ := c.Kubectl(t, "", "--namespace", namespace, "describe", "pod", name)
	log, _ := c.Kubectl(t, "", "--namespace", namespace, "logs", name)
	return described + log
}

// run runs a command in a pod's outer tree until it ends.
func (c cluster) run(ctx context.Context, pod string, command dockerx.Command) (code int, err error) {
	kubectl := c.Command(ctx, append([]string{"kubectl", "--namespace", namespace, "exec", "--stdin", pod, "--"}, command.Args...)...)
	kubectl.Stdin, kubectl.Stdout, kubectl.Stderr = command.Stdin, command.Stdout, command.Stderr
	err = kubectl.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// inside runs a command in the machine of a pod, as a job would.
func (c cluster) inside(ctx context.Context, pod string, command dockerx.Command) (code int, err error) {
	words := []string{"/usr/lib/runnerctl/exec"}
	if command.Root {
		words = append(words, "--root")
	}
	command.Args = append(words, command.Args...)
	return c.run(ctx, pod, command)
}

// must runs a script in the machine of a pod and returns its output.
func (c cluster) must(t *testing.T, pod string, root bool, input io.Reader, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code, err := c.inside(t.Context(), pod, dockerx.Command{Args: args, Root: root, Stdin: input, Stdout: &out, Stderr: &errs})
	if err != nil || code != 0 {
		t.Fatalf("%v: exit code %d, %v: %s%s", args, code, err, out.String(), errs.String())
	}
	return out.String()
}

// report returns the runner's own report.
func (c cluster) report(t *testing.T, pod string) (report machine.Report) {
	t.Helper()
	out := c.MustKubectl(t, "", "--namespace", namespace, "exec", pod, "--", "/usr/lib/runnerctl/status", "details")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return report
}

// onNode runs a command on the node.
func (c cluster) onNode(t *testing.T, words ...string) {
	t.Helper()
	if out, err := c.Command(t.Context(), words...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", words, err, out)
	}
}

// hideProfile hides the seccomp profile from the node's containers until the returned function is
// called.
func (c cluster) hideProfile(t *testing.T) (show func()) {
	t.Helper()
	const profile = "/var/lib/kubelet/seccomp/runnerctl.json"
	c.onNode(t, "mv", profile, profile+".away")
	return func() { c.onNode(t, "mv", profile+".away", profile) }
}
