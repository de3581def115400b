//go:build linux

package commands

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/doctor"
)

var update = flag.Bool("update", false, "rewrite golden files and generated pages")

// page compares a page of docs/ with what the test found; with -update it is
// written.
func page(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the test found; go test ./commands -run %s -update rewrites it:\n%s", path, t.Name(), want)
	}
}

func row(cells ...string) string {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// attemptsPage is docs/escape.md.
func attemptsPage(t *testing.T, path string, attempts []doctor.Attempt) {
	t.Helper()
	var text strings.Builder
	text.WriteString("# Attempts to escape\n\nWhat `runnerctl doctor --deep` tries in a runner, each as `runner`, as the machine's root, as root in a container, and as root in a container with\n" +
		"`--privileged --pid=host --network=host --ipc=host` and the machine's whole tree mounted. Harmless by construction: what opens is closed at once and never written, a setting gets the value\n" +
		"that was just read, a call that would do something gets an argument that can't be right, and what is aimed at was made for it. The tests show each of them to succeed against a container\n" +
		"without walls, where the kernel has what it aims at. This page is written by a test.\n\n")
	text.WriteString(row("attempt", "what is tried", "what it would mean") + "|---|---|---|\n")
	for _, attempt := range attempts {
		if attempt.As == "runner" {
			text.WriteString(row("`"+attempt.ID+"`", attempt.Title, attempt.Meaning))
		}
	}
	page(t, path, text.String())
}
