// Package manifests checks the exported objects of Kubernetes with its own types and its own pod
// security rules. It is a module of its own, since runnerctl does not need them.
package manifests

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// values are those of the chart gha-runner-scale-set that the export sets.
type values struct {
	RunnerScaleSetName string                 `json:"runnerScaleSetName"`
	GitHubConfigURL    string                 `json:"githubConfigUrl"`
	GitHubConfigSecret string                 `json:"githubConfigSecret"`
	RunnerGroup        string                 `json:"runnerGroup"`
	MinRunners         int                    `json:"minRunners"`
	MaxRunners         int                    `json:"maxRunners"`
	Template           corev1.PodTemplateSpec `json:"template"`
}

// decode reads an exported file; a field that the type does not have is an error.
func decode(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// exports returns the folders of the golden exports.
func exports(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../../internal/export/testdata/kubernetes/*")
	if err != nil || len(all) < 2 {
		t.Fatalf("%d exports, %v, want 2", len(all), err)
	}
	return all
}

// Each object has only fields that Kubernetes knows.
func TestObjects(t *testing.T) {
	for _, folder := range exports(t) {
		for _, name := range []string{"namespace.yaml", "namespace-before-1.35.yaml"} {
			var namespace corev1.Namespace
			decode(t, filepath.Join(folder, name), &namespace)
			if namespace.Kind != "Namespace" || namespace.Name == "" || namespace.Labels[api.EnforceLevelLabel] == "" {
				t.Errorf("%s: got %+v, want a namespace that enforces a level", folder, namespace)
			}
		}
		var class nodev1.RuntimeClass
		decode(t, filepath.Join(folder, "runtimeclass.yaml"), &class)
		if class.Kind != "RuntimeClass" || class.Handler != "runnerctl" {
			t.Errorf("%s: got %+v, want the class runnerctl", folder, class)
		}
		for name, spec := range pods(t, folder) {
			if *spec.RuntimeClassName != class.Name {
				t.Errorf("%s: %s has the class %s, want %s", folder, name, *spec.RuntimeClassName, class.Name)
			}
		}
	}
}

// With a device plugin, pods ask for its device, and need no runtime class.
func TestDevicePlugin(t *testing.T) {
	const folder = "../../internal/export/testdata/device-plugin/ci"
	text, err := os.ReadFile(filepath.Join(folder, "device-plugin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(string(text), "\n---\n")
	var namespace corev1.Namespace
	var set appsv1.DaemonSet
	if err := errors.Join(yaml.UnmarshalStrict([]byte(first), &namespace), yaml.UnmarshalStrict([]byte(second), &set)); err != nil {
		t.Fatal(err)
	}
	security := set.Spec.Template.Spec.Containers[0].SecurityContext
	if set.Namespace != namespace.Name || *security.AllowPrivilegeEscalation || security.Privileged != nil || len(security.Capabilities.Add) > 0 {
		t.Errorf("got %+v in %s, want no privilege", security, set.Namespace)
	}
	for name, spec := range pods(t, folder) {
		if count := spec.Containers[0].Resources.Limits["dev.runnerctl/tun"]; spec.RuntimeClassName != nil || count.Value() != 1 {
			t.Errorf("%s: class %v and %s devices, want one device", name, spec.RuntimeClassName, count.String())
		}
		if broken := violations(t, 37, spec); len(broken) > 0 {
			t.Errorf("%s: 1.37 refuses it: %v", name, broken)
		}
	}
}

// pods returns the two pods of an export.
func pods(t *testing.T, folder string) map[string]*corev1.PodSpec {
	t.Helper()
	var pod corev1.Pod
	decode(t, filepath.Join(folder, "smoke-pod.yaml"), &pod)
	var set values
	decode(t, filepath.Join(folder, "values.yaml"), &set)
	if set.GitHubConfigSecret == "" || set.MaxRunners == 0 || len(set.Template.Spec.Containers) != 1 || set.Template.Spec.Containers[0].Name != "runner" {
		t.Errorf("%s: got %+v, want a secret's name, a limit and one container, runner", folder, set)
	}
	return map[string]*corev1.PodSpec{"smoke pod": &pod.Spec, "scale set": &set.Template.Spec}
}

// violations returns the rules of a level that a pod breaks, as the API server of a version finds
// them.
func violations(t *testing.T, minor int, spec *corev1.PodSpec) (reasons []string) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	at := api.LevelVersion{Level: api.LevelBaseline, Version: api.MajorMinorVersion(1, minor)}
	for _, result := range evaluator.EvaluatePod(at, &metav1.ObjectMeta{}, spec) {
		if !result.Allowed {
			reasons = append(reasons, result.ForbiddenReason)
		}
	}
	return reasons
}

// From 1.35 on, a namespace that enforces baseline accepts the pods. Before, it refuses only the
// unmasked /proc. A privileged container is always refused.
func TestPodSecurity(t *testing.T) {
	for _, folder := range exports(t) {
		for name, spec := range pods(t, folder) {
			for _, minor := range []int{35, 36, 37} {
				if broken := violations(t, minor, spec); len(broken) > 0 {
					t.Errorf("%s, %s: 1.%d refuses it: %v", folder, name, minor, broken)
				}
			}
			if broken := violations(t, 34, spec); len(broken) != 1 || broken[0] != "procMount" {
				t.Errorf("%s, %s: 1.34 refuses %v, want only procMount", folder, name, broken)
			}
			control := spec.DeepCopy()
			yes := true
			control.Containers[0].SecurityContext.Privileged = &yes
			if broken := violations(t, 37, control); len(broken) != 1 || broken[0] != "privileged" {
				t.Errorf("%s, %s: with a privileged container, 1.37 refuses %v, want privileged", folder, name, broken)
			}
		}
	}
}
