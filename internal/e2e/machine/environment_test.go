//go:build linux

package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

// variables returns the lines NAME=VALUE of env's output as a map.
func variables(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), "="); found {
			all[name] = value
		}
	}
	return all
}

// A job's environment is the same as that of exec, including the settings' own variables.
func TestJobsAndExecHaveOneEnvironment(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	f.Spec.Env = map[string]string{"OWN_TEXT": `a "quoted" $HOME`, "OWN_EMPTY": ""}
	runner := f.Create(e2e.JITAgent, e2e.JITConfig(t, `env | sed 's/^/job: /'; forever`))
	f.Ready(runner)
	var log strings.Builder
	e2e.Eventually(t, time.Minute, "the job tells its environment", func() bool {
		log.Reset()
		for line := range strings.Lines(e2e.ContainerLog(t, f.API, runner.ContainerID)) {
			if text, found := strings.CutPrefix(line, "agent: job: "); found {
				log.WriteString(text)
			}
		}
		return strings.Contains(log.String(), "\n_=")
	})
	job, exec := variables(log.String()), variables(e2e.Must(t, "exec", runner.Name, "--", "env"))
	for name, value := range map[string]string{
		"HOME": "/home/runner", "USER": "runner", "LANG": "C.UTF-8", "ImageOS": "debian13", "AGENT_TOOLSDIRECTORY": "/opt/hostedtoolcache",
		"PATH": "/home/runner/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "OWN_TEXT": `a "quoted" $HOME`, "OWN_EMPTY": "",
	} {
		if got, found := job[name]; !found || got != value {
			t.Errorf("%s of the job is %q, want %q", name, got, value)
		}
	}
	// The shell's own variables, and those that only the agent gets.
	for name := range job {
		if strings.HasPrefix(name, "ACTIONS_RUNNER_") {
			delete(job, name)
		}
	}
	for _, name := range []string{"_", "PWD", "OLDPWD", "SHLVL", "root"} {
		delete(job, name)
		delete(exec, name)
	}
	for name := range job {
		if job[name] != exec[name] {
			t.Errorf("%s: %q in a job, %q in exec, want the same", name, job[name], exec[name])
		}
	}
	for name := range exec {
		if _, found := job[name]; !found {
			t.Errorf("%s is in exec only", name)
		}
	}
	if got := variables(e2e.Must(t, "exec", "--root", runner.Name, "--", "env")); got["HOME"] != "/root" || got["USER"] != "root" || got["OWN_TEXT"] != job["OWN_TEXT"] {
		t.Errorf("root: %q, want HOME /root, USER root, OWN_TEXT %q", got, job["OWN_TEXT"])
	}
}
