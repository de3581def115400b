//go:build linux

package commands

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/golden"
	"github.com/runnerctl/runnerctl/internal/selftest"
	"github.com/runnerctl/runnerctl/scripts"
)

func row(cells ...string) string {
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(strings.ReplaceAll(cell, "|", `\|`), "\n", " ")
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

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
	text.WriteString(row("attempt", "target", "risk", "not attempted if") + "|---|---|---|---|\n")
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

var (
	linkOfPage    = regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)"\s]+)`)
	headingOfPage = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor   = regexp.MustCompile(`[^\w\- ]`)
)

// anchors returns the link names that GitHub makes of a page's headings.
func anchors(page []byte) (names []string) {
	for _, heading := range headingOfPage.FindAllSubmatch(page, -1) {
		names = append(names, strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(string(heading[1])), ""), " ", "-"))
	}
	return names
}

var (
	fileOfRecipe = regexp.MustCompile("`((?:commands|docs|dockerx|ghapi|internal|scripts|templates|testbuildx|tools)/[^`]*)`")
	placeholder  = regexp.MustCompile(`[A-Z]{4,}`)
	testOfRecipe = regexp.MustCompile(`\bTest[A-Z]\w*`)
)

// Each file and each test that CONTRIBUTING.md names exists. Words in capitals are placeholders.
func TestRecipes(t *testing.T) {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	files, named := fileOfRecipe.FindAllSubmatch(text, -1), testOfRecipe.FindAll(text, -1)
	if len(files) < 40 || len(named) < 10 {
		t.Errorf("%d files and %d tests, want more", len(files), len(named))
	}
	for _, file := range files {
		path := string(file[1])
		if placeholder.MatchString(path) {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", path)); err != nil {
			t.Error(err)
		}
	}
	tests := testNames(t)
	for _, name := range named {
		if !tests[string(name)] {
			t.Errorf("there is no test %s", name)
		}
	}
}

// Each link of a page to a file of the repository, or to a heading, has a target.
func TestLinksOfPages(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/bench/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range linkOfPage.FindAllSubmatch(text, -1) {
			path, anchor, _ := strings.Cut(string(link[1]), "#")
			if strings.Contains(path, "://") {
				continue
			}
			target, at := text, page
			if path != "" {
				at = filepath.Join(filepath.Dir(page), path)
				if _, err := os.Stat(at); err != nil {
					t.Errorf("%s: no file %s", page, path)
					continue
				}
				if anchor == "" {
					continue
				}
				if target, err = os.ReadFile(at); err != nil {
					t.Fatal(err)
				}
			}
			if anchor != "" && !slices.Contains(anchors(target), anchor) {
				t.Errorf("%s: %s has no heading #%s", page, at, anchor)
			}
		}
	}
}
