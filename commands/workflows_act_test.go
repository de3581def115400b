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

// actWorkflows are those of the suite that need no services and no container, with the result
// that nektos/act prints at the end of each.
var actWorkflows = map[string]string{
	"files": "Job succeeded", "tool-cache": "Job succeeded", "compose": "Job succeeded", "buildx": "Job succeeded", "testcontainers": "Job succeeded",
	"disk-full": "Job failed",
}

// commandLine runs runnerctl, either here or against another machine.
type commandLine func(t *testing.T, args ...string) (code int, stdout, stderr string)

func here(t *testing.T, args ...string) (code int, stdout, stderr string) {
	return runnerctl(t.Context(), args...)
}

// byAct is a runner that has nektos/act, the suite's workflows and a repository for them.
type byAct struct {
	run    commandLine
	runner string
}

func newByAct(t *testing.T, run commandLine, runner string) byAct {
	t.Helper()
	program := filepath.Join(t.TempDir(), "act")
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/nektos/act")
	command.Dir = filepath.Join(suiteFolder, "..", "tools", "act")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build act: %v: %s", err, output)
	}
	b := byAct{run, runner}
	b.must(t, "exec", runner, "--", "sh", "-ec", `mkdir -p app/.github && cd app && git init -q -b main &&
		git -c user.name=a -c user.email=a@b.invalid commit -q --allow-empty -m begin && git remote add origin https://github.com/acme/api.git`)
	b.must(t, "cp", program, runner+":act")
	b.must(t, "cp", filepath.Join(suiteFolder, "workflows"), runner+":app/.github/workflows")
	return b
}

func (b byAct) must(t *testing.T, args ...string) {
	t.Helper()
	if code, stdout, stderr := b.run(t, args...); code != 0 {
		t.Fatalf("runnerctl %v: exit code %d, want 0\n%s%s", args, code, stdout, stderr)
	}
}

// workflow runs one workflow, with its steps on the runner's machine.
func (b byAct) workflow(t *testing.T, name string) {
	t.Helper()
	secret, says := suiteSecrets["TOKEN"], actWorkflows[name]
	script := fmt.Sprintf("cd app && TOKEN=%s ~/act push -W .github/workflows/%s.yaml -P ubuntu-latest=-self-hosted --var REGION=north -s TOKEN", secret, name)
	code, out, errs := b.run(t, "exec", b.runner, "--", "sh", "-c", script)
	if log := out + errs; !strings.Contains(log, says) || (code == 0) != (says == "Job succeeded") || strings.Contains(log, secret) {
		t.Errorf("exit code %d; log:\n%s\nwant %q, no secret, and 0 only if the job succeeded", code, log, says)
	}
	b.must(t, "exec", b.runner, "--", "sh", "-c", "docker ps -aq | xargs -r docker rm -fv") // an ephemeral runner ends here
}

// nektos/act reads workflow files with its own code. A runner meets the
// requirements of the suite's workflows.
func TestWorkflowsByAct(t *testing.T) {
	runnerImage(t) // also makes the base of the suite's images
	api := realEngine(t)
	mirror := imageMirror(t, api)
	fleet := newFleet(t, api)
	write(t, "runnerctl.yaml", "runners: {dockerd: "+pullFrom(mirror)+"}\n")
	must(t, up(fleet)...)
	runner := list(t, fleet)[0].Name
	act := newByAct(t, here, runner)
	for name := range actWorkflows {
		t.Run(name, func(t *testing.T) { act.workflow(t, name) })
	}
}
