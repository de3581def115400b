//go:build linux

package cleaner

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runnerctl/runnerctl/internal/enginetest"
	"github.com/runnerctl/runnerctl/internal/machine/treetest"
	"github.com/runnerctl/runnerctl/internal/machine/user"
)

func TestEmpty(t *testing.T) {
	enginetest.NeedRoot(t, "a change of owners", "sh")
	for _, test := range []struct {
		name    string
		entries []string
		own     []string // entries of the user runner
		want    []string
	}{
		{"a repository", []string{"api/api/.git/deep/er/file", "api/api/file", "api/api/.hidden/"}, nil, []string{"api/api/"}},
		{"several folders of a repository", []string{"api/api/file", "api/other/file", "api/file", "api/.hidden", "web/web/"}, nil, []string{"api/api/", "api/other/", "web/web/"}},
		{"links", []string{"api/api/out -> /canary", "api/api/loop -> loop", "api/link -> /canary", "link -> /canary", "api/api/a/a -> ../a"}, nil, []string{"api/api/"}},
		{"other files", []string{"file", "pipe|", ".hidden", "api/pipe|", "api/api/pipe|", "api/api/-l", "api/api/line\nend", "api/api/*"}, nil, []string{"api/api/"}},
		{"tools, actions and notes of the agent", []string{"_tool/node/bin", "_actions/actions/checkout", "_PipelineMapping/x", "_file"}, nil,
			[]string{"_PipelineMapping/x", "_actions/actions/checkout", "_file", "_tool/node/bin"}},
		{"files of others in the agent's folder", []string{"_temp/file", "_temp/root/file", "_temp/own/root/own", "_temp/own/own", "_temp/own/link -> /canary", "_temp/mine -> /canary"},
			[]string{"_temp/own", "_temp/own/own", "_temp/own/root/own", "_temp/mine"}, []string{"_temp/mine", "_temp/own/own"}},
		{"a link in the place of the agent's folder", []string{"_temp -> /canary"}, nil, []string{"_temp"}},
	} {
		root := t.TempDir()
		work := root + workFolder
		treetest.Build(t, root, "canary/file")
		for _, entry := range test.entries {
			treetest.Build(t, work, strings.Replace(entry, "-> /canary", "-> "+root+"/canary", 1))
		}
		for _, name := range test.own {
			if err := os.Lchown(filepath.Join(work, name), user.Runner, user.Runner); err != nil {
				t.Fatal(err)
			}
		}
		c := &cleaner{root: root, work: workFolder}
		if err := c.empty(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := list(t, work); !slices.Equal(got, test.want) {
			t.Errorf("%s: left are %q, want %q", test.name, got, test.want)
		}
		if got := list(t, root+"/canary"); !slices.Equal(got, []string{"file"}) {
			t.Errorf("%s: outside are %q, want the file", test.name, got)
		}
	}
}

// A job of the user runner may put links into the path of the work folder.
func TestWorkFolderThatIsNone(t *testing.T) {
	for name, test := range map[string]struct {
		work, entry string
		refused     bool
	}{
		"missing":                     {workFolder, home + "/actions-runner/", false},
		"nothing at all":              {"/data/work", "else/", false},
		"a link":                      {workFolder, workFolder + " -> ../../../canary/_work", true},
		"a link to nothing":           {workFolder, workFolder + " -> nowhere", true},
		"a link on the way":           {workFolder, home + "/actions-runner -> ../../canary", true},
		"a link in another place":     {"/data/work", "/data/work -> ../canary/_work", true},
		"a file":                      {workFolder, workFolder, true},
		"an image's own link":         {"/data/_work", "/data -> canary", false},
		"a pipe":                      {workFolder, workFolder + "|", true},
		"a folder of the work folder": {home + "/actions-runner/a/b", home + "/actions-runner/a -> ../../../canary/_work", true},
	} {
		root := t.TempDir()
		treetest.Build(t, root, "canary/_work/src/file", "canary/_work/b/src/src/file", test.entry)
		c := &cleaner{root: root, work: test.work}
		err := c.empty()
		if test.refused && (err == nil || err.Error() != test.work+" is not a folder") || !test.refused && err != nil {
			t.Errorf("%s: got %v, want it refused: %t", name, err, test.refused)
		}
		want := []string{"_work/b/src/src/file", "_work/src/file"}
		if test.work == "/data/_work" {
			want = []string{"_work/b/src/", "_work/src/"}
		}
		if got := list(t, root+"/canary"); !slices.Equal(got, want) {
			t.Errorf("%s: there are %q, want %q", name, got, want)
		}
	}
}

func TestDeepFolders(t *testing.T) {
	root := t.TempDir()
	treetest.Build(t, root, workFolder+"/api/api/")
	at, err := os.OpenRoot(root + workFolder + "/api/api")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("deep", 50)
	for range 500 { // the path is longer than a system call takes
		if err := at.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := at.OpenRoot(name)
		if err != nil {
			t.Fatal(err)
		}
		at.Close()
		at = next
	}
	at.Close()
	c := &cleaner{root: root, work: workFolder}
	if err := c.empty(); err != nil {
		t.Error(err)
	}
	if got := list(t, root+workFolder); !slices.Equal(got, []string{"api/api/"}) {
		t.Errorf("left are %d entries", len(got))
	}
}
