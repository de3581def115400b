//go:build linux

package commands

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/golden"
	"github.com/runnerctl/runnerctl/scripts"
)

func row(cells ...string) string {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// docs/escape.md is made of the scripts.
func TestEscapePage(t *testing.T) {
	all, err := escapeAttempts()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("# Attempts to escape\n\nWhat `runnerctl doctor --deep` tries in a runner, each as `runner`, as the machine's root, as root in a container, and as root in a container with\n" +
		"`--privileged --pid=host --network=host --ipc=host` and the machine's whole tree mounted. Harmless by construction: what opens is closed at once and never written, a setting gets the value\n" +
		"that was just read, a call that would do something gets an argument that can't be right, and what is aimed at was made for it. A test shows each of them to succeed against a container\n" +
		"without walls; of those in the last column, where the kernel has what they aim at. `host-disk` needs a disk made to be aimed at, and so is tried by tests only. (Written by a test from the\n" +
		"attempts themselves; `make golden` writes it anew.)\n\n")
	text.WriteString(row("attempt", "what is tried", "what it would mean", "not tried where") + "|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, attempt := range all {
		if seen[attempt.ID] {
			t.Errorf("two attempts are called %s", attempt.ID)
		}
		seen[attempt.ID] = true
		text.WriteString(row("`"+attempt.ID+"`", attempt.Title, attempt.Meaning, notOnEveryKernel[attempt.ID]))
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
	golden.Check(t, "../docs/escape.md", []byte(text.String()))
}
