//go:build linux && long

package github

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/config"
	"github.com/runnerctl/runnerctl/internal/e2e"
)

// The first step of a job finds Docker, even if the daemon starts slowly, and the operator's
// hooks run.
func TestJobStartedHook(t *testing.T) {
	f := e2e.NewAgentFleet(t, func(loaded *config.Config) {
		for _, folder := range []string{"hooks/job-started.d", "hooks/job-completed.d"} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "10-say"), []byte("#!/bin/sh\necho operator: $(basename $(dirname $0)) as $(id -un)\n[ ! -e /tmp/fail ]\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		loaded.Image.Dockerfile = lateDaemon
	})
	t.Cleanup(func() { e2e.RemoveImage(t, f.API, f.Spec.Image) })
	runner := f.Create(e2e.JITAgent, e2e.JITConfig(t, `$ACTIONS_RUNNER_HOOK_JOB_STARTED && docker version --format 'first step: {{.Server.Version}}' && $ACTIONS_RUNNER_HOOK_JOB_COMPLETED
		touch /tmp/fail; $ACTIONS_RUNNER_HOOK_JOB_STARTED || echo "hook code $?"`))
	code, log := f.Ended(runner)
	for _, want := range []string{"agent: operator: job-started.d as runner\n", "agent: first step: 2", "agent: operator: job-completed.d as runner\n", "agent: hook 10-say of job-started.d failed with code 1\n", "agent: hook code 1\n"} {
		if code != 0 || !strings.Contains(log, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, log)
		}
	}
}

// lateDaemon makes an image's daemon start ten seconds late.
const lateDaemon = `RUN mv /usr/sbin/dockerd /usr/sbin/dockerd.real && printf '#!/bin/sh\n[ "$1" = --version ] || sleep 10\nexec dockerd.real "$@"\n' >/usr/sbin/dockerd && chmod +x /usr/sbin/dockerd
`
