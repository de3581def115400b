//go:build linux

package github

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/scripts"
)

// A container that runs alone and is restarted without end keeps one runner name. It
// registers more and more slowly while its starts end soon.
func TestImageAloneStartsAgainSlowly(t *testing.T) {
	f := e2e.NewAgentFleet(t, nil)
	config, host := alone(f.Spec.Image, "REPO_URL=https://github.com/acme/api", "RUNNER_TOKEN=registration-refused", "EPHEMERAL=true", "RUNNER_NAME_PREFIX=again")
	host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyAlways}
	id := e2e.StartAlone(t, f.API, config, host)
	e2e.Eventually(t, time.Minute, "three starts", func() bool {
		return strings.Contains(e2e.ContainerLog(t, f.API, id), "agent: waiting 4s: the last 2 starts failed soon\n")
	})
	names := map[string]bool{}
	for line := range strings.Lines(e2e.ContainerLog(t, f.API, id)) {
		if _, rest, found := strings.Cut(line, " --name "); found {
			name, _, _ := strings.Cut(rest, " ")
			names[name] = true
		}
	}
	if len(names) != 1 {
		t.Errorf("names %v, want one", names)
	}
	for name := range names {
		if !strings.HasPrefix(name, "again-") || len(name) != len("again-")+12 {
			t.Errorf("name %s, want again- and 12 characters", name)
		}
	}
}

// Of the libraries that carry a version in their names, the newest that .NET opens is chosen.
func TestLibrariesOfTheAgent(t *testing.T) {
	tools := t.TempDir()
	script := filepath.Join(tools, "rootfs-check")
	text, err := scripts.Image.ReadFile("image/rootfs-check")
	if err == nil {
		err = errors.Join(os.WriteFile(script, text, 0o755), os.WriteFile(filepath.Join(tools, "profile"), nil, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	listing := func(names string) {
		t.Helper()
		fake := "#!/bin/sh\ncase \"$1\" in show) exit 0 ;; pkgnames) printf '%s\\n' " + names + " | grep \"^$2\" ;; esac\n"
		if err := os.WriteFile(filepath.Join(tools, "apt-cache"), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for names, want := range map[string]string{
		"libicu76 libssl3 libssl3t64 liblttng-ust1t64":                  " libicu76 libssl3t64 liblttng-ust1t64\n",
		"libicu76 libicu9 libssl3 libssl4 libssl4t64 liblttng-ust1":     " libicu76 libssl3 liblttng-ust1\n",
		"libicu66 libssl1.1 libssl-dev libssl1.1-dbg liblttng-ust0 x":   " libicu66 libssl1.1 liblttng-ust0\n",
		"libicu76 libssl4 liblttng-ust1":                                "no package like libssl",
		"libicu72 libssl3 libssl1.1 liblttng-ust1 liblttng-ust-common1": " libicu72 libssl3 liblttng-ust1\n",
	} {
		listing(names)
		command := exec.CommandContext(t.Context(), "sh", script, "packages", "agent")
		command.Env = []string{"PATH=" + tools + ":/usr/bin:/bin"}
		output, _ := command.CombinedOutput() // on a refusal, the output is compared
		if !strings.HasSuffix(string(output), want) && !strings.Contains(string(output), want) {
			t.Errorf("%s: %q, want %q", names, output, want)
		}
	}
}
