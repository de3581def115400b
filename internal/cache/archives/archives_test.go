package archives

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// repository is a git repository with one commit.
type repository struct {
	t            *testing.T
	folder       string
	commit, tree string
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	command := exec.CommandContext(r.t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	command.Dir = r.folder
	out, err := command.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v", args, err)
	}
	return string(out)
}

// newRepository makes a commit of files, by path. "#!" makes one executable, "-> " a link.
func newRepository(t *testing.T, files map[string]string) *repository {
	t.Helper()
	r := &repository{t: t, folder: t.TempDir()}
	for name, text := range files {
		path := filepath.Join(r.folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, isLink := strings.CutPrefix(text, "-> "); isLink {
			err = os.Symlink(to, path)
		} else {
			mode := os.FileMode(0o644)
			if strings.HasPrefix(text, "#!") {
				mode = 0o755
			}
			err = os.WriteFile(path, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.git("init", "--quiet")
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message", "one")
	r.commit, r.tree = strings.TrimSpace(r.git("rev-parse", "HEAD")), strings.TrimSpace(r.git("rev-parse", "HEAD^{tree}"))
	return r
}

func (r *repository) archive() []byte {
	return []byte(r.git("archive", "--format=tar.gz", "--prefix=acme-tool-"+r.commit+"/", "HEAD"))
}

var files = map[string]string{
	"action.yml": "name: tool\n", "dist/index.js": "#!/usr/bin/env node\n", "dist-old": "sorted before the folder dist", "dist.txt": "sorted before it, too",
	"lib/a/b/c": "deep", "link": "-> dist/index.js", "empty": "", "ü": "not ASCII",
}

// api serves the repository as acme/tool, and counts requests by path.
func (r *repository) api(asked map[string]int, archive []byte) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		asked[request.URL.Path]++
		switch request.URL.EscapedPath() {
		case "/api/v3/repos/acme/tool/commits/v1", "/api/v3/repos/acme/tool/commits/releases%2Fv1":
			fmt.Fprintf(w, `{"sha":%q,"commit":{"tree":{"sha":%q}}}`, r.commit, r.tree)
		case "/api/v3/repos/acme/tool/tarball/" + r.commit:
			_, _ = w.Write(archive)
		default:
			http.NotFound(w, request)
		}
	}))
	r.t.Cleanup(server.Close)
	return server
}

func newArchives(t *testing.T) *Archives {
	t.Helper()
	return &Archives{Folder: t.TempDir(), Limit: 1 << 20, Client: http.DefaultClient, Now: time.Now}
}

// The folder gets the archive under the name that GitHub's runner looks for, once.
func TestAdd(t *testing.T) {
	r, asked := newRepository(t, files), map[string]int{}
	server := r.api(asked, r.archive())
	all := newArchives(t)
	for _, action := range []string{"acme/tool@v1", "acme/tool/sub/folder@v1", "acme/tool@releases/v1"} {
		got, err := all.Add(t.Context(), server.URL+"/api/v3/", action)
		if err != nil || got.Repository != "acme/tool" || got.Commit != r.commit {
			t.Errorf("%s: got %+v, %v, want commit %s", action, got, err, r.commit)
		}
	}
	if count := asked["/api/v3/repos/acme/tool/tarball/"+r.commit]; count != 1 {
		t.Errorf("%d downloads, want 1", count)
	}
	kept, err := os.ReadFile(filepath.Join(all.Folder, "acme_tool", r.commit+".tar.gz"))
	if err != nil || !bytes.Equal(kept, r.archive()) {
		t.Errorf("%d bytes, %v, want GitHub's own archive", len(kept), err)
	}
	list, err := all.List()
	if err != nil || len(list) != 1 || list[0].Size != int64(len(kept)) {
		t.Errorf("got %+v, %v, want one of %d bytes", list, err, len(kept))
	}
}

// An archive with other files than the commit is not kept, and nor is an archive that GitHub does not have.
func TestAddRefuses(t *testing.T) {
	r := newRepository(t, files)
	other := newRepository(t, map[string]string{"action.yml": "name: evil\n"})
	ignored := newRepository(t, map[string]string{"action.yml": "name: tool\n", "docs/a": "a", ".gitattributes": "docs export-ignore\n"})
	for name, test := range map[string]struct {
		of      *repository
		archive []byte
		action  string
		want    string
	}{
		"another commit's files":        {r, other.archive(), "acme/tool@v1", ErrChanged.Error()},
		"files that git left out":       {ignored, ignored.archive(), "acme/tool@v1", ErrChanged.Error()},
		"half of it":                    {r, r.archive()[:len(r.archive())/2], "acme/tool@v1", "unexpected EOF"},
		"no archive":                    {r, []byte("<html>not an archive</html>"), "acme/tool@v1", "gzip"},
		"a ref that does not exist":     {r, r.archive(), "acme/tool@v2", "404 Not Found"},
		"a name that leads out":         {r, r.archive(), "../..@v1", ErrName.Error()},
		"a ref that leads out":          {r, r.archive(), "acme/tool@../../../user", ErrName.Error()},
		"no ref":                        {r, r.archive(), "acme/tool", ErrName.Error()},
		"a repository that is a folder": {r, r.archive(), "acme/..@v1", ErrName.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			all := newArchives(t)
			_, err := all.Add(t.Context(), test.of.api(map[string]int{}, test.archive).URL+"/api/v3", test.action)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			left, _ := filepath.Glob(filepath.Join(all.Folder, "*", "*"))
			hidden, _ := filepath.Glob(filepath.Join(all.Folder, "*", ".*"))
			if len(left)+len(hidden) > 0 {
				t.Errorf("left behind: %v %v", left, hidden)
			}
		})
	}
}

// Of archives that do not fit, those that were not used for the longest time are removed.
func TestExpire(t *testing.T) {
	all := newArchives(t)
	all.Limit = 250
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 4 {
		path := all.path(Archive{Repository: fmt.Sprintf("acme/%d", i), Commit: strings.Repeat("a", 40)})
		used := now.Add(time.Duration(i) * time.Hour)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, 100), 0o600), os.Chtimes(path, used, used)); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.expire(); err != nil {
		t.Fatal(err)
	}
	list, err := all.List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range list {
		names = append(names, one.Repository)
	}
	if want := []string{"acme/3", "acme/2"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	all.Now = func() time.Time { return now.Add(10 * time.Hour) }
	if removed, err := all.Prune(7 * time.Hour); err != nil || len(removed) != 1 || removed[0].Repository != "acme/2" {
		t.Errorf("removed %v, %v, want acme/2", removed, err)
	}
	if left, err := all.List(); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v, want acme/3", left, err)
	}
}

// A start removes downloads that were cut off, and nothing else.
func TestClean(t *testing.T) {
	all := newArchives(t)
	kept := all.path(Archive{Repository: "acme/tool", Commit: strings.Repeat("a", 40)})
	cut := filepath.Join(filepath.Dir(kept), ".new-123")
	err := os.MkdirAll(filepath.Dir(kept), 0o755)
	for _, path := range []string{kept, cut} {
		err = errors.Join(err, os.WriteFile(path, nil, 0o600))
	}
	if err := errors.Join(err, all.Clean()); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(kept)); len(left) != 1 || left[0].Name() != filepath.Base(kept) {
		t.Errorf("left %v, want the archive", left)
	}
}

func TestTreeOfManyFiles(t *testing.T) {
	var archive bytes.Buffer
	packed := gzip.NewWriter(&archive)
	out := tar.NewWriter(packed)
	for i := range maxFiles + 1 {
		if err := out.WriteHeader(&tar.Header{Name: fmt.Sprintf("r/%d", i), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := TreeOf(&archive); !errors.Is(err, ErrLarge) {
		t.Errorf("got %v, want %v", err, ErrLarge)
	}
}

func TestTreeOfRefusesOtherArchives(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"a device":                 {{Name: "r/d", Typeflag: tar.TypeChar}},
		"a path that ends outside": {{Name: "r/../x", Typeflag: tar.TypeReg}},
		"a file twice":             {{Name: "r/a", Typeflag: tar.TypeReg}, {Name: "r/a", Typeflag: tar.TypeReg}},
		"a file as folder":         {{Name: "r/a", Typeflag: tar.TypeReg}, {Name: "r/a/b", Typeflag: tar.TypeReg}},
	} {
		var archive bytes.Buffer
		packed := gzip.NewWriter(&archive)
		out := tar.NewWriter(packed)
		for _, header := range headers {
			if err := out.WriteHeader(&header); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(out.Close(), packed.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := TreeOf(&archive); err == nil {
			t.Errorf("%s: got %s, want an error", name, got)
		}
	}
}
