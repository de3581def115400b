package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const list = `# A list for the tests.
\bwhat\b => name the thing
\btaken away\b => removed
\bworld\b => rootfs
allow docs/* hello world # a greeting
skip old/... # old
`

func TestCheck(t *testing.T) {
	rules, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file, content string
		want                []string
	}{
		{"a comment", "a.go", "package a\n\n// It is what runs.\n", []string{"a.go:3: what: name the thing"}},
		{"two lines of a comment", "a.go", "package a\n\n// It is taken\n// away.\n", []string{"a.go:3: taken away: removed"}},
		{"a string", "a.go", "package a\n\nconst a = \"it\\nwhat\"\n", []string{"a.go:3: what: name the thing"}},
		{"a raw string", "a.go", "package a\n\nconst a = `it\nis what`\n", []string{"a.go:4: what: name the thing"}},
		{"two strings", "a.go", "package a\n\nvar a = []string{\"taken\", \"away\"}\n", nil},
		{"a string of a test", "a_test.go", "package a\n\nconst a = \"what\"\n", nil},
		{"a comment of a test", "a_test.go", "package a\n\n// what\n", []string{"a_test.go:3: what: name the thing"}},
		{"a name", "a.go", "package a\n\nfunc what() {}\n", nil},
		{"a doc comment", "a.go", "package a\n\n// what returns it.\nfunc what() {}\n", nil},
		{"a tag", "a.go", "package a\n\ntype a struct {\n\tb int `json:\"what\"`\n}\n", nil},
		{"a question", "a.go", "package a\n\nconst a = \"what is it?\"\n", nil},
		{"a script", "run", "#!/bin/sh\nwhat=1 # what\necho \"it is $what\"\necho 'what'\n", []string{"run:2: what: name the thing", "run:4: what: name the thing"}},
		{"no script", "run", "what\n", nil},
		{"a script's comment", "run", "#!/bin/sh\n# It is taken\n# away.\n", []string{"run:2: taken away: removed"}},
		{"a document", "a.md", "What `what` a/what.go?\nIt is what.\n", []string{"a.md:2: what: name the thing"}},
		{"a form", ".github/a.yml", "label: it is what\n", []string{".github/a.yml:1: what: name the thing"}},
		{"an exception", "docs/a.md", "hello world, world\n", []string{"docs/a.md:1: world: rootfs"}},
		{"an exception elsewhere", "a.md", "hello world\n", []string{"a.md:1: world: rootfs"}},
		{"spelling", "a.md", "one\nrecieve `recieve`\n", []string{"a.md:2: recieve: write receive"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := rules.check(test.file, []byte(test.content)); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, line := range []string{"what", "( => hint", "allow docs/* # reason", "allow docs/* text", "skip docs/*", "skip docs/* text # reason", "skip [ # reason"} {
		if _, err := parse(line); err == nil || !strings.HasPrefix(err.Error(), "banned.txt:1: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
	if _, err := parse(banned); err != nil {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"a.md": "It is told.\n", "b.md": "It is fine.\n", "c.png": "told"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil { //nolint:gosec // a test's file
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	found, err := run(root, []string{"a.md", "b.md", "c.png", "gone.md"}, &out)
	if err != nil || found != 1 || out.String() != "a.md:1: told: show, report or print\n" {
		t.Errorf("%d, %v: %s", found, err, out.String())
	}
}
