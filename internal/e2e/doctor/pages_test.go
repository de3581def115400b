//go:build linux

package doctor

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
	"github.com/runnerctl/runnerctl/internal/golden"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/scripts"
)

// docs/escape.md is generated from the scripts.
func TestEscapePage(t *testing.T) {
	all, err := selftest.Attempts()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("# Attempts to escape\n\n`runnerctl doctor --deep` makes these attempts in a runner, each as `runner`, as the machine's root, as root in a container, and as root in a container with\n" +
		"`--privileged --pid=host --network=host --ipc=host` and the machine's whole root filesystem mounted. They are harmless by construction: a file that opens is closed at once and never written, a setting gets the value\n" +
		"that was just read, a call with an effect gets an invalid argument, and the targets were created for the attempts. A test shows that each attempt succeeds in a container\n" +
		"without isolation; an attempt with an entry in the last column succeeds only if the kernel has its target. `host-disk` needs a disk that was created for it, so only tests try it. (Written by a test from the\n" +
		"attempts themselves; `make golden` rewrites it.)\n\n")
	text.WriteString(e2e.TableRow("attempt", "target", "risk", "not attempted if") + "|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, attempt := range all {
		if seen[attempt.ID] {
			t.Errorf("two attempts are called %s", attempt.ID)
		}
		seen[attempt.ID] = true
		text.WriteString(e2e.TableRow("`"+attempt.ID+"`", attempt.Title, attempt.Meaning, notOnEveryKernel[attempt.ID]))
	}
	for id := range notOnEveryKernel {
		if !seen[id] {
			t.Errorf("no attempt is called %s", id)
		}
	}
	var written int
	files, err := fs.Glob(scripts.Escape, "escape/*.pl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		script, err := scripts.Escape.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		written += strings.Count("\n"+string(script), "\nattempt ")
	}
	if written != len(all) {
		t.Errorf("%d of %d attempts were read", len(all), written)
	}
	golden.Check(t, e2e.InRepository("docs/escape.md"), []byte(text.String()))
}
