//go:build linux && k8s

package kubernetes

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/runnerctl/runnerctl/dockerx"
	"github.com/runnerctl/runnerctl/internal/doctor"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/machine"
	"github.com/runnerctl/runnerctl/internal/machine/canary"
	"github.com/runnerctl/runnerctl/internal/machine/contract"
	"github.com/runnerctl/runnerctl/internal/machine/embedded"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/internal/session"
)

// A node takes minutes to make, so all tests share one.
func TestNode(t *testing.T) {
	c := newCluster(t)
	t.Run("objects", c.testObjects)
	t.Run("AppArmor", c.testAppArmor)
	t.Run("machine", c.testMachine)
	t.Run("job", c.testJob)
	t.Run("faults", c.testFaults)
	t.Run("escape", c.testEscape)
	t.Run("start", c.testStart)
	t.Run("check", c.testCheck)
	t.Run("device plugin", c.testDevicePlugin)
}

// A real API server accepts every object, and refuses others for the right reason.
func (c cluster) testObjects(t *testing.T) {
	for _, name := range []string{"namespace.yaml", "namespace-before-1.35.yaml", "runtimeclass.yaml", "smoke-pod.yaml"} {
		c.MustKubectl(t, exported(t, name), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
	}
	c.MustKubectl(t, text(t, c.jobPod(t, "scale-set")), "apply", "--dry-run=server", "--validate=strict", "-f", "-")

	refused := func(want string, change func(spec, security object)) {
		t.Helper()
		made := pod(t, "refused")
		change(spec(made), container(made)["securityContext"].(object))
		_, err := c.Kubectl(t, text(t, made), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	refused("unknown field", func(spec, security object) { security["procMont"] = "Unmasked" })
	refused("hostUsers", func(spec, security object) { spec["hostUsers"] = true })
	refused("violates PodSecurity", func(spec, security object) {
		delete(security, "procMount")
		security["privileged"] = true
	})

	// Docker's own image as GitHub's example starts it.
	dind := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "dind", "namespace": namespace}, "spec": object{
		"containers": []any{object{"name": "dind", "image": "docker:dind", "securityContext": object{"privileged": true}}},
	}}
	if _, err := c.Kubectl(t, text(t, dind), "apply", "--dry-run=server", "-f", "-"); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "baseline:latest": privileged`) {
		t.Errorf("a privileged Docker: %v, want it refused by the namespace", err)
	}
}

// AppArmor's parser accepts the profile. This kernel need not use it.
func (c cluster) testAppArmor(t *testing.T) {
	e2e.Must(t, "export", "kubernetes", "--image", c.image, "--out", "with-apparmor")
	profile, err := os.ReadFile("with-apparmor/node/apparmor")
	if err != nil {
		t.Fatal(err)
	}
	for text, accepted := range map[string]bool{string(profile): true, strings.Replace(string(profile), "pivot_root,", "pivot_roots,", 1): false} {
		parser := c.Command(t.Context(), "apparmor_parser", "--skip-kernel-load", "--skip-cache")
		parser.Stdin = strings.NewReader(text)
		if out, err := parser.CombinedOutput(); (err == nil) != accepted {
			t.Errorf("the parser: %v: %s; want it to accept: %v", err, out, accepted)
		}
	}
}

// The steps of a job pass in a pod.
func (c cluster) testMachine(t *testing.T) {
	name := c.start(t, pod(t, "machine"))
	steps, err := selftest.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, step := range steps {
		switch step.ID {
		case selftest.NeedsOutside, selftest.CarriesMTU, selftest.NeedsPrivileged:
			continue
		}
		ran++
		t.Logf("%s: %s", step.ID, c.must(t, name, false, nil, "bash", "-c", step.Text, step.ID))
	}
	if ran < 6 {
		t.Errorf("%d steps ran, want 6", ran)
	}
	var errs bytes.Buffer
	code, err := c.inside(t.Context(), name, dockerx.Command{Args: []string{"docker", "run", "--rm", "--privileged", "runnerctl-deep", "true"}, Stdout: io.Discard, Stderr: &errs})
	if known := doctor.Explain(errs.String()); err != nil || code == 0 || known == nil || known.ID != "sysfs" {
		t.Errorf("an inner privileged container: exit code %d, %v, %s; want the missing sysfs", code, err, errs.String())
	}
	uids := c.report(t, name).Details.UIDs
	if uids[0].Outside != 1001 || c.must(t, name, false, nil, "sudo", "id", "-u") != "0\n" {
		t.Errorf("ids %+v, want root of the machine as 1001 of the pod", uids)
	}
}

// jobPod is a pod as the scale set's controller makes it: the exported template, and a runner's
// configuration from a secret.
func (c cluster) jobPod(t *testing.T, name string) object {
	t.Helper()
	var values struct {
		Template object `yaml:"template"`
	}
	if err := yaml.Unmarshal([]byte(exported(t, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	made := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": namespace}, "spec": values.Template["spec"]}
	spec(made)["restartPolicy"] = "Never"
	runner := container(made)
	runner["env"] = append(runner["env"].([]any), object{"name": contract.EnvJIT, "valueFrom": object{"secretKeyRef": object{"name": name, "key": "jitToken"}}})
	return made
}

// A job of the stand-in runs in a pod, and its conclusion comes back. No process of the job sees the
// runner's configuration.
func (c cluster) testJob(t *testing.T) {
	const name = "job"
	_, line, err := e2e.GitHubClient(t).GenerateJIT(t.Context(), name, 1, []string{"self-hosted"}, "_work")
	if err != nil {
		t.Fatal(err)
	}
	secret := object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"name": name, "namespace": namespace}, "stringData": object{"jitToken": line.Reveal()}}
	c.MustKubectl(t, text(t, secret), "apply", "-f", "-")
	id := e2e.Queue(t, c.github, e2e.LookForJIT)
	c.create(t, c.jobPod(t, name))
	result := e2e.AwaitJob(t, c.github, id)
	if result.Conclusion != "success" || result.Runner != name || !strings.Contains(result.Log, "hidden") {
		t.Errorf("the job: %s on %s, want success on %s and no process with the configuration\n%s\n%s", result.Conclusion, result.Runner, name, result.Log, c.describe(t, name))
	}
	c.MustKubectl(t, "", "--namespace", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", "pod/"+name)
}

// Each fault of a node or a pod ends with words that name its cause.
func (c cluster) testFaults(t *testing.T) {
	for name, one := range map[string]struct {
		change func(made object)
		want   []string
	}{
		"no-tun":     {func(made object) { delete(spec(made), "runtimeClassName") }, []string{"missing: /dev/net/tun", "runtimeClassName: runnerctl"}},
		"few-ids":    {func(made object) { container(made)["image"] = c.dockerImage }, []string{"build --for kubernetes", "idsPerPod"}},
		"no-seccomp": {func(made object) {}, []string{"runnerctl.json"}},
		"seccomp-default": {func(made object) {
			container(made)["securityContext"].(object)["seccompProfile"] = object{"type": "RuntimeDefault"}
		}, []string{"localhostProfile: runnerctl.json"}},
		"masked-proc":   {func(made object) { delete(container(made)["securityContext"].(object), "procMount") }, []string{"procMount: Unmasked"}},
		"no-escalation": {func(made object) { container(made)["securityContext"].(object)["allowPrivilegeEscalation"] = false }, []string{"allowPrivilegeEscalation"}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no-seccomp" {
				defer c.hideProfile(t)()
			}
			made := pod(t, name)
			one.change(made)
			c.create(t, made)
			said := ""
			e2e.Eventually(t, time.Minute, "the fault is named", func() bool {
				said = c.describe(t, name)
				return !slices.ContainsFunc(one.want, func(words string) bool { return !strings.Contains(said, words) })
			})
			if t.Failed() {
				t.Logf("want %q in:\n%s", one.want, said)
			}
		})
	}
}

// No attempt gets out of a pod, to its neighbour or to the node.
func (c cluster) testEscape(t *testing.T) {
	tried, neighbour := c.start(t, pod(t, "tried")), c.start(t, pod(t, "neighbour"))
	program, err := os.ReadFile(e2e.InRepository("internal/machine/embedded/programs/" + embedded.Prefix + runtime.GOARCH))
	if err != nil {
		t.Fatal(err)
	}
	c.must(t, neighbour, true, bytes.NewReader(program), "sh", "-euc", `cat >"$1"; chmod 755 "$1"`, "copy", selftest.ProgramInside)
	token, outer := "canary-"+rand.Text(), "canary-"+rand.Text()
	given := map[string]string{"token": token, "outer": outer, "file": "/root/" + token, "outerfile": "/run/user/1001/" + outer, "gateway": "10.88.0.1"}
	given["neighbour"] = c.MustKubectl(t, "", "--namespace", namespace, "get", "pod", neighbour, "--output", "jsonpath={.status.podIP}")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // the canaries end
	place := func(pod, program, token, file string, run func(context.Context, string, dockerx.Command) (int, error)) selftest.Canary {
		t.Helper()
		one, err := selftest.PlaceCanary(pod, program, token, file, func(command dockerx.Command) (int, error) {
			command.Root = true
			return run(ctx, pod, command)
		})
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
	inside := place(neighbour, selftest.ProgramInside, token, given["file"], c.inside)
	around := place(tried, canary.Program, outer, given["outerfile"], c.run)
	copied := c.Command(t.Context(), "sh", "-euc", "cat >/usr/local/bin/canary; chmod 755 /usr/local/bin/canary")
	copied.Stdin = bytes.NewReader(program)
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	onNode := place("node", "/usr/local/bin/canary", token, "/root/"+token, func(ctx context.Context, _ string, command dockerx.Command) (int, error) {
		on := c.Command(ctx, command.Args...)
		on.Stdin, on.Stdout, on.Stderr = command.Stdin, command.Stdout, command.Stderr
		return 0, on.Run()
	})
	given["port"], given["otherloopback"], given["shm"] = inside.Port, inside.Loopback, inside.SHM
	given["outerloopback"], given["loopback"] = around.Loopback, onNode.Loopback
	key, removeKey, err := selftest.PlaceKey(token)
	if err != nil {
		t.Fatal(err)
	}
	defer removeKey()
	given["key"], given["disk"] = key, e2e.LoopDevice(t)
	c.must(t, tried, false, e2e.EscapeArchive(t), "tar", "-x", "-C", "/home/runner")
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	steps, err := selftest.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	run := steps[slices.IndexFunc(steps, func(one selftest.Script) bool { return one.ID == "run" })]
	c.must(t, tried, false, nil, "bash", "-c", run.Text, run.ID) // builds the inner image
	for _, attacker := range selftest.Attackers(false) {
		battery := selftest.Try(t.Context(), func(ctx context.Context, command dockerx.Command) (int, error) {
			return c.inside(ctx, tried, command)
		}, selftest.Attack{Attacker: attacker, Given: given, Attempts: all})
		if battery.Err != nil {
			t.Errorf("as %s: %v", attacker.As, battery.Err)
		}
		e2e.AllBlocked(t, battery.Attempts, attacker.As)
	}
}

// The inner daemon answers in a pod about as fast as in a container of Docker with the same settings.
func (c cluster) testStart(t *testing.T) {
	made := pod(t, "start")
	api := e2e.Engine(t)
	name := e2e.NewFleet(t, api)
	writeSettings(t, "")
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	var inPods, inDocker []time.Duration
	for n := range 5 {
		one := fmt.Sprintf("start-%d", n)
		made["metadata"].(object)["name"] = one
		inPods = append(inPods, untilDaemon(t, c.report(t, c.start(t, made))))
		c.MustKubectl(t, "", "--namespace", namespace, "delete", "pod", one, "--now")

		e2e.Must(t, e2e.Up(name, "--count", "1")...)
		runner := e2e.List(t, name)[0]
		var out bytes.Buffer
		if _, err := engine.ExecOuter(t.Context(), runner, dockerx.Command{Args: []string{"/usr/lib/runnerctl/status", "details"}, Stdout: &out, Stderr: io.Discard}); err != nil {
			t.Fatal(err)
		}
		var report machine.Report
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		inDocker = append(inDocker, untilDaemon(t, report))
		e2e.Must(t, "down", "--fleet", name)
	}
	slices.Sort(inPods)
	slices.Sort(inDocker)
	ratio := float64(inPods[2]) / float64(inDocker[2])
	t.Logf("from the start of a runner to its daemon's answer: %s in a pod, %s in Docker: %.2f", inPods[2], inDocker[2], ratio)
	if ratio > 1.5 {
		t.Errorf("ratio %.2f, want 1.5 at most", ratio)
	}
}

// untilDaemon is the time from the start of a runner to its daemon's first answer.
func untilDaemon(t *testing.T, report machine.Report) time.Duration {
	t.Helper()
	at := map[string]time.Time{}
	for _, phase := range report.Details.Phases {
		at[phase.Name] = phase.At
	}
	took := at["dockerd"].Sub(at["start"])
	if took <= 0 || took > time.Minute {
		t.Fatalf("phases %+v, want a start and a daemon", report.Details.Phases)
	}
	return took
}

// failures returns the checks of the cluster that fail, each with the words of the report.
func (c cluster) failures(t *testing.T, args ...string) map[string]string {
	t.Helper()
	code, stdout, stderr := e2e.Runnerctl(t.Context(), append([]string{"export", "kubernetes", "--check", "--kubeconfig", c.Kubeconfig, "-o", "json"}, args...)...)
	var report doctor.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	failed := map[string]string{}
	for _, one := range report.Checks {
		if one.Status != doctor.Pass {
			failed[one.ID] = fmt.Sprintf("%s: %s: %s", one.Status, one.Observed, one.Remedy.Text)
		}
	}
	return failed
}

// The check names the parts that this cluster lacks, and no other.
func (c cluster) testCheck(t *testing.T) {
	expect := func(want map[string]string, args ...string) {
		t.Helper()
		failed := c.failures(t, args...)
		for id, words := range want {
			if !strings.Contains(failed[id], words) {
				t.Errorf("%s: got %q, want %q", id, failed[id], words)
			}
		}
		if len(failed) != len(want) {
			t.Errorf("got %q, want only %q", failed, want)
		}
	}
	// GitHub's controller is not to be had here.
	expect(map[string]string{"cluster.secret": "no secret runnerctl-github", "cluster.controller": "gha-runner-scale-set-controller"})
	c.MustKubectl(t, "", "--namespace", namespace, "create", "secret", "generic", "runnerctl-github", "--from-literal=github_token=x")
	expect(map[string]string{"cluster.controller": "gha-runner-scale-set-controller", "cluster.device": "no dev.runnerctl/tun"}, "--tun", "device-plugin")

	defer c.hideProfile(t)()
	made := pod(t, "check")
	spec(made)["runtimeClassName"] = "runnerctl"
	c.create(t, made)
	e2e.Eventually(t, time.Minute, "the check names the profile", func() bool {
		return strings.Contains(c.failures(t)["cluster.pods"], "run node/install.sh of the export on the node")
	})
}

// With the device plugin instead of the runtime class, a runner works too. The plugin's container has
// no privilege.
func (c cluster) testDevicePlugin(t *testing.T) {
	api := e2e.Engine(t)
	engine, _, err := session.Session{Env: os.Getenv, GOOS: "linux"}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	program := filepath.Join(t.TempDir(), "deviceplugin")
	build := exec.CommandContext(t.Context(), "go", "-C", e2e.InRepository("deviceplugin"), "build", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	const image = "runnerctl-test/tun:1"
	files := dockerx.Context{}
	for name, path := range map[string]string{"Dockerfile": e2e.InRepository("deviceplugin/Dockerfile"), "deviceplugin": program} {
		if files[name], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { e2e.RemoveImage(t, api, image) })
	if err := engine.Build(t.Context(), files, dockerx.BuildOptions{Tag: image, Progress: "quiet", Out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	c.Import(t, api, image)

	e2e.Must(t, "export", "kubernetes", "--image", c.image, "--out", "k8s", "--no-apparmor", "--tun", "device-plugin", "--plugin-image", image)
	objects := exported(t, "device-plugin.yaml")
	c.MustKubectl(t, objects, "apply", "--validate=strict", "-f", "-")
	// The controllers' work.
	c.MustKubectl(t, "", "--namespace", "runnerctl-system", "create", "serviceaccount", "default")
	var set object
	_, second, _ := strings.Cut(objects, "\n---\n")
	if err := yaml.Unmarshal([]byte(second), &set); err != nil {
		t.Fatal(err)
	}
	plugin := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "plugin", "namespace": "runnerctl-system"}, "spec": spec(spec(set)["template"].(object))}
	spec(plugin)["nodeName"] = "node"
	c.MustKubectl(t, text(t, plugin), "apply", "--validate=strict", "-f", "-")
	e2e.Eventually(t, time.Minute, "the node has the device", func() bool {
		return c.MustKubectl(t, "", "get", "node", "node", "--output", `jsonpath={.status.allocatable.dev\.runnerctl/tun}`) == "1k"
	})
	made := pod(t, "by-plugin")
	if spec(made)["runtimeClassName"] != nil {
		t.Error("the pod has a runtime class, want none")
	}
	name := c.start(t, made)
	if said := c.must(t, name, false, nil, "docker", "version", "--format", "{{.Server.Version}}"); said == "" {
		t.Error("docker has no version")
	}
	if failed := c.failures(t, "--tun", "device-plugin"); len(failed) != 1 || failed["cluster.controller"] == "" {
		t.Errorf("got %q, want only the controller", failed)
	}
}
