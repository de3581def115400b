//go:build linux

package hosts

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"github.com/runnerctl/runnerctl/commands"
	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/enginetest"
)

// hostLine is a line of hosts: that gets an engine of its own.
type hostLine struct {
	name, more string
	filled     bool // the engine has the runner image
}

// hostEngines starts private engines and lists them under these names as hosts of
// runnerctl.yaml.
func hostEngines(t *testing.T, lines ...hostLine) map[string]*enginetest.Engine {
	t.Helper()
	machine := e2e.Engine(t)
	images := []string{e2e.RunnerImage(t), "debian:trixie-slim"}
	t.Chdir(t.TempDir())
	engines := map[string]*enginetest.Engine{}
	var file strings.Builder
	file.WriteString("hosts:\n")
	for _, line := range lines {
		options := enginetest.Options{DiskMiB: 8192}
		if line.filled {
			options.From, options.Images = machine, images
		}
		engines[line.name] = enginetest.Start(t, options)
		fmt.Fprintf(&file, "- {name: %s, address: \"%s\"%s}\n", line.name, engines[line.name].Host, line.more)
	}
	e2e.WriteFile(t, "runnerctl.yaml", file.String())
	return engines
}

func runnersOn(t *testing.T, api *client.Client) int {
	t.Helper()
	count := 0
	for _, name := range e2e.Leftovers(t, api, "ci") {
		if strings.HasPrefix(name, "/ci-") {
			count++
		}
	}
	return count
}

// A fleet on several hosts: the image is copied between them (in make test-long), each host
// has its count, one is drained, one dies and comes back, one hangs. The other hosts go on.
func TestSeveralHosts(t *testing.T) {
	engines := hostEngines(t, hostLine{"one", ", count: 1", true}, hostLine{"two", ", count: 2", !e2e.Thorough})
	one, two := engines["one"], engines["two"]

	code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet")
	if code != 0 || e2e.Thorough != strings.Contains(stderr, "✔ two   image from one") || !strings.Contains(stderr, "one  1 runner ready") || !strings.Contains(stderr, "two  2 runners ready") {
		t.Fatalf("up: exit code %d, want 0; image from one: want %t; stderr:\n%s\nwant %q and %q", code, e2e.Thorough, stderr, "one  1 runner ready", "two  2 runners ready")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet"); code != 0 || strings.Contains(stderr, "image from") {
		t.Errorf("a second up: exit code %d, want 0; stderr:\n%s\nwant no %q", code, stderr, "image from")
	}
	if a, b := runnersOn(t, one.API), runnersOn(t, two.API); a != 1 || b != 2 {
		t.Fatalf("runners: %d, %d, want 1 and 2", a, b)
	}
	table := e2e.Must(t, "ps")
	if !strings.HasPrefix(table, "NAME     HOST  FLEET") || strings.Count(table, "  two  ") != 2 || strings.Count(table, "  one  ") != 1 {
		t.Errorf("ps:\n%s\nwant the column HOST, 2 lines of two, 1 of one", table)
	}
	names := strings.Fields(e2e.Must(t, "ps", "-q"))
	for _, name := range names { // on either host
		if got := e2e.Must(t, "exec", name, "--", "hostname"); strings.TrimSpace(got) != name {
			t.Errorf("exec: %q, want %q", got, name)
		}
	}
	if log := e2e.Must(t, "logs", "--tail", "1"); strings.Count(log, "\n") != 3 {
		t.Errorf("logs of %v:\n%s\nwant 3 lines", names, log)
	}
	if listed := e2e.Must(t, "host", "ls"); strings.Count(listed, "1/1") != 1 || strings.Count(listed, "2/2") != 1 {
		t.Errorf("host ls:\n%s\nwant 1/1 and 2/2, once each", listed)
	}
	for args, want := range map[string]string{
		"build":            "which host? the settings have one, two",
		"up --count 3":     "--count: of which host?",
		"ps --host three":  "the settings' hosts are one, two",
		"host drain tow":   `did you mean "two"?`,
		"doctor --deep":    "which host?",
		"exec nosuch true": "no runner named nosuch",
	} {
		if code, _, stderr := e2e.Runnerctl(t.Context(), strings.Fields(args)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, want another than 0; stderr:\n%s\nwant %q", args, code, stderr, want)
		}
	}

	two.Kill() // with all that ran there
	started := time.Now()
	code, stdout, stderr := e2e.Runnerctl(t.Context(), "ps")
	if code != commands.ExitFailure || !strings.Contains(stdout, "  one  ") || !strings.Contains(stderr, "host two: ") || time.Since(started) > within {
		t.Errorf("ps without two: exit code %d after %s, want %d within %s; stdout:\n%s\nwant one; stderr:\n%s\nwant %q", code, time.Since(started), commands.ExitFailure, within, stdout, stderr, "host two: ")
	}
	if code, _, stderr := e2e.Runnerctl(t.Context(), "up", "--progress", "quiet"); code != commands.ExitFailure || !strings.Contains(stderr, "one  1 runner ready") {
		t.Errorf("up without two: exit code %d, want %d; stderr:\n%s\nwant %q", code, commands.ExitFailure, stderr, "one  1 runner ready")
	}
	two.Run(t)
	e2e.Must(t, "up", "--progress", "quiet")
	if a, b := runnersOn(t, one.API), runnersOn(t, two.API); a != 1 || b != 2 {
		t.Errorf("after two came back: %d, %d, want 1 and 2", a, b)
	}
	e2e.Must(t, "host", "drain", "two")
	if a, b := runnersOn(t, one.API), len(e2e.Leftovers(t, two.API, "ci")); a != 1 || b != 0 {
		t.Errorf("after the drain: %d on one, %d objects on two, want 1 and 0", a, b)
	}
	e2e.Must(t, "down")
	if left := append(e2e.Leftovers(t, one.API, "ci"), e2e.Leftovers(t, two.API, "ci")...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// doctor reports on several hosts, for people and for programs.
func TestDoctorOfSeveralHosts(t *testing.T) {
	t.Chdir(t.TempDir())
	e2e.WriteFile(t, "runnerctl.yaml", fmt.Sprintf("hosts:\n- {name: here, address: %q}\n- {name: gone, address: \"unix:///nosuch.sock\"}\n", cmp.Or(os.Getenv("DOCKER_HOST"), "default")))
	e2e.Engine(t)
	code, stdout, _ := e2e.Runnerctl(t.Context(), "doctor", "engine", "--offline")
	here, gone, _ := strings.Cut(stdout, "Host gone\n")
	if code != commands.ExitFailure || !strings.HasPrefix(here, "Host here\n") || strings.Contains(here, "✘ engine.reachable") || !strings.Contains(gone, "✘ engine.reachable") {
		t.Errorf("exit code %d, want %d; stdout:\n%s\nwant the host here first, and engine.reachable to fail on gone alone", code, commands.ExitFailure, stdout)
	}
	code, stdout, _ = e2e.Runnerctl(t.Context(), "doctor", "engine.reachable", "-o", "json")
	if code != commands.ExitFailure || !strings.Contains(stdout, `"gone": {`) || !strings.Contains(stdout, `"here": {`) {
		t.Errorf("exit code %d, want %d:\n%s\nwant %q and %q", code, commands.ExitFailure, stdout, `"gone": {`, `"here": {`)
	}
}
