//go:build linux

package commands

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildAct builds nektos/act of the version that tools/act names.
func buildAct(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "act")
	command := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/nektos/act")
	command.Dir = filepath.Join(suiteFolder, "..", "tools", "act")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build act: %v: %s", err, output)
	}
	return program
}

// nektos/act, which reads workflow files by code of its own, runs those of the suite
// that need no services inside a runner, steps on the runner's machine.
func TestWorkflowsByAct(t *testing.T) {
	act := buildAct(t)
	api := realEngine(t)
	fleet := newFleet(t, api)
	must(t, up(fleet)...)
	runner := list(t, fleet)[0].Name
	must(t, "exec", runner, "--", "sh", "-ec", useMirror(imageMirror(t, api)))
	must(t, "exec", runner, "--", "sh", "-ec", "mkdir -p app/.github && cd app && git init -q -b main && git -c user.name=a -c user.email=a@b.invalid commit -q --allow-empty -m begin && git remote add origin https://github.com/acme/api.git")
	must(t, "cp", act, runner+":act")
	must(t, "cp", filepath.Join(suiteFolder, "workflows"), runner+":app/.github/workflows")
	for name, says := range map[string]string{
		"files": "Job succeeded", "tool-cache": "Job succeeded", "compose": "Job succeeded", "buildx": "Job succeeded", "testcontainers": "Job succeeded",
		"disk-full": "Job failed",
	} {
		t.Run(name, func(t *testing.T) {
			script := fmt.Sprintf("cd app && TOKEN=%s ~/act push -W .github/workflows/%s.yaml -P ubuntu-latest=-self-hosted --var REGION=north -s TOKEN", suiteSecrets["TOKEN"], name)
			code, out, errs := runnerctl(t.Context(), "exec", runner, "--", "sh", "-c", script)
			if log := out + errs; !strings.Contains(log, says) || (code == 0) != (says == "Job succeeded") || strings.Contains(log, suiteSecrets["TOKEN"]) {
				t.Errorf("code %d\n%s", code, log)
			}
			must(t, "exec", runner, "--", "sh", "-c", "docker ps -aq | xargs -r docker rm -fv") // what a step of an ephemeral runner may leave
		})
	}
}
