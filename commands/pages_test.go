//go:build linux

package commands_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/e2e"
)

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
	tests := e2e.TestNames(t)
	for _, name := range named {
		if _, there := tests[string(name)]; !there {
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
