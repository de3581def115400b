//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ActWorkflows are those of the suite that need no services and no container, with the result
// that nektos/act prints at the end of each.
var ActWorkflows = map[string]string{
	"files": "Job succeeded", "tool-cache": "Job succeeded", "compose": "Job succeeded", "buildx": "Job succeeded", "testcontainers": "Job succeeded",
	"disk-full": "Job failed",
}

// CommandLine runs runnerctl, either here or against another machine.
type CommandLine func(t *testing.T, args ...string) (code int, stdout, stderr string)

// ByAct is a runner that has nektos/act, the suite's workflows and a repository for them.
type ByAct struct {
	run    CommandLine
	Runner string
}

// NewByAct prepares a runner for workflows by act.
func NewByAct(t *testing.T, run CommandLine, runner string) ByAct {
	t.Helper()
	program := filepath.Join(t.TempDir(), "act")
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/nektos/act")
	command.Dir = InRepository("tools/act")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build act: %v: %s", err, output)
	}
	b := ByAct{run, runner}
	b.must(t, "exec", runner, "--", "sh", "-ec", `mkdir -p app/.github && cd app && git init -q -b main &&
		git -c user.name=a -c user.email=a@b.invalid commit -q --allow-empty -m begin && git remote add origin https://github.com/acme/api.git`)
	b.must(t, "cp", program, runner+":act")
	b.must(t, "cp", filepath.Join(SuiteFolder, "workflows"), runner+":app/.github/workflows")
	return b
}

func (b ByAct) must(t *testing.T, args ...string) {
	t.Helper()
	if code, stdout, stderr := b.run(t, args...); code != 0 {
		t.Fatalf("runnerctl %v: exit code %d, want 0\n%s%s", args, code, stdout, stderr)
	}
}

// Workflow runs one workflow, with its steps on the runner's machine.
func (b ByAct) Workflow(t *testing.T, name string) {
	t.Helper()
	secret, says := SuiteSecrets["TOKEN"], ActWorkflows[name]
	script := fmt.Sprintf("cd app && TOKEN=%s ~/act push -W .github/workflows/%s.yaml -P ubuntu-latest=-self-hosted --var REGION=north -s TOKEN", secret, name)
	code, out, errs := b.run(t, "exec", b.Runner, "--", "sh", "-c", script)
	if log := out + errs; !strings.Contains(log, says) || (code == 0) != (says == "Job succeeded") || strings.Contains(log, secret) {
		t.Errorf("exit code %d; log:\n%s\nwant %q, no secret, and 0 only if the job succeeded", code, log, says)
	}
	b.must(t, "exec", b.Runner, "--", "sh", "-c", "docker ps -aq | xargs -r docker rm -fv") // an ephemeral runner ends here
}

// SuiteSecrets and SuiteVars are secrets and variables that a repository's settings would hold.
var (
	SuiteSecrets = map[string]string{"DATABASE_PASSWORD": "correct-horse-7", "TOKEN": "hidden-value"}
	SuiteVars    = map[string]string{"REGION": "north"}
)

// SuiteFolder holds the workflows and images of the suite.
var SuiteFolder = InRepository("testdata")
