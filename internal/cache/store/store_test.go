package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// fake is a store with a clock that stands still.
type fake struct {
	*Store
	t     *testing.T
	dir   string
	clock time.Time
}

var roomy = Limits{Size: 1 << 30, Repository: 1 << 30, Uploads: 4}

func newStore(t *testing.T, limits Limits) *fake {
	t.Helper()
	f := &fake{t: t, dir: t.TempDir(), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	f.open(limits)
	return f
}

func (f *fake) open(limits Limits) {
	f.t.Helper()
	var err error
	if f.Store, err = Open(f.dir, limits, func() time.Time { return f.clock }); err != nil {
		f.t.Fatal(err)
	}
}

var main = Owner{Repository: "42", Scope: "refs/heads/main", Job: "run:job"}

// put begins an upload and writes blocks of it.
func (f *fake) put(owner Owner, key string, blocks ...string) (id string) {
	f.t.Helper()
	id, err := f.Reserve(owner, key, "v")
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for i, text := range blocks {
		names = append(names, fmt.Sprint(i))
		if err := f.Put(id, names[i], strings.NewReader(text)); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.Commit(id, names); err != nil {
		f.t.Fatal(err)
	}
	return id
}

// save makes an entry, one second after the one before it.
func (f *fake) save(owner Owner, key string, blocks ...string) Entry {
	f.t.Helper()
	f.clock = f.clock.Add(time.Second)
	f.put(owner, key, blocks...)
	made, err := f.Finalize(owner, key, "v", int64(len(strings.Join(blocks, ""))))
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

func (f *fake) read(id string, from, until int64) (string, error) {
	f.t.Helper()
	reader, err := f.Reader(id)
	if err != nil {
		return "", err
	}
	if until < 0 {
		until = reader.Size
	}
	var out bytes.Buffer
	err = reader.Copy(&out, from, until)
	return out.String(), errors.Join(err, reader.Close())
}

// files lists all files of the store.
func (f *fake) files() (names []string) {
	f.t.Helper()
	err := filepath.WalkDir(f.dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, f.dir+"/"))
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

func (f *fake) keys() (keys []string) {
	for _, one := range f.List() {
		keys = append(keys, one.Key)
	}
	slices.Sort(keys)
	return keys
}

// random returns bytes that no chunk shares with another.
func random(size int) string {
	source := rand.NewChaCha8([32]byte{byte(size)})
	text := make([]byte, size)
	_, _ = source.Read(text)
	return string(text)
}

func TestSaveAndRead(t *testing.T) {
	f := newStore(t, roomy)
	blocks := []string{random(2*chunk + 5), "", random(3), random(chunk)}
	whole := strings.Join(blocks, "")
	made := f.save(main, "deps", blocks...)
	size := int64(len(whole))
	if made.Size != size || made.Repository != "42" || made.Scope != "refs/heads/main" || made.Key != "deps" || made.Version != "v" || !made.Created.Equal(f.clock) {
		t.Errorf("got %+v", made)
	}
	for _, again := range []bool{false, true} {
		if again {
			f.open(roomy)
		}
		for _, span := range [][2]int64{{0, size}, {0, 1}, {size - 1, size}, {chunk - 1, chunk + 1}, {2 * chunk, 2*chunk + 7}, {2*chunk + 5, 2*chunk + 8}, {7, size - 7}, {size, size}} {
			if got, err := f.read(made.ID, span[0], span[1]); err != nil || got != whole[span[0]:span[1]] {
				t.Errorf("bytes %v: got %d bytes, %v", span, len(got), err)
			}
		}
	}
	if _, err := f.read("1", 0, 0); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown entry: %v", err)
	}
	if err := f.Remove(made.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(made.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("removed again: %v", err)
	}
	if left := f.files(); len(left) > 0 || len(f.List()) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestFind(t *testing.T) {
	f := newStore(t, roomy)
	branch := Owner{Repository: "42", Scope: "refs/heads/topic", Job: "other"}
	for _, one := range []struct {
		owner Owner
		key   string
	}{
		{main, "npm-linux-1"}, {main, "npm-linux-2"}, {main, "npm-linux-10"}, {main, "go-linux"}, {branch, "npm-mac"},
		{Owner{"43", "refs/heads/main", "job"}, "other"}, {Owner{"43", "refs/heads/main", "job"}, "npm-linux-3"},
	} {
		f.save(one.owner, one.key, one.key)
	}
	both := []string{"refs/heads/topic", "refs/heads/main"}
	for _, test := range []struct {
		name    string
		scopes  []string
		version string
		key     string
		restore []string
		want    string
	}{
		{"exact", both, "v", "npm-linux-2", nil, "npm-linux-2"},
		{"exact before newer", both, "v", "npm-linux-1", nil, "npm-linux-1"},
		{"beginning, newest", both, "v", "npm-linux-", nil, "npm-linux-10"},
		{"restore keys in their order", both, "v", "none", []string{"nothing", "go-", "npm-linux-1"}, "go-linux"},
		{"the first scope wins", both, "v", "none", []string{"npm-"}, "npm-mac"},
		{"another order of scopes", []string{"refs/heads/main", "refs/heads/topic"}, "v", "none", []string{"npm-"}, "npm-linux-10"},
		{"not all scopes", both[:1], "v", "npm-linux-2", []string{"go-"}, ""},
		{"no scope", nil, "v", "go-linux", nil, ""},
		{"another version", both, "w", "go-linux", nil, ""},
		{"another repository's", both, "v", "other", []string{"npm-linux-3"}, ""},
		{"empty keys match nothing", both, "v", "", []string{""}, ""},
	} {
		got, found := f.Find(Query{"42", test.scopes, test.version, test.key, test.restore})
		if got.Key != test.want || found != (test.want != "") {
			t.Errorf("%s: got %q, %t, want %q", test.name, got.Key, found, test.want)
		}
	}
	f.clock = f.clock.Add(time.Hour)
	f.Find(Query{"42", both, "v", "go-linux", nil})
	f.open(roomy)
	if last := f.List()[0]; last.Key != "go-linux" || last.Hits != 2 || !last.Used.Equal(f.clock) {
		t.Errorf("after a restart: %+v, want 2 hits, the last one now", last)
	}
}

func TestUploadsAreSeparate(t *testing.T) {
	f := newStore(t, roomy)
	second := Owner{main.Repository, main.Scope, "another:job"}
	f.put(main, "key", "first")
	f.put(second, "key", "second")
	if _, err := f.Finalize(Owner{main.Repository, main.Scope, "third:job"}, "key", "v", 5); !errors.Is(err, ErrUnknown) {
		t.Errorf("a job without an upload: %v", err)
	}
	if _, err := f.Finalize(main, "key", "v", 6); !errors.Is(err, ErrSize) {
		t.Errorf("another size: %v", err)
	}
	if _, err := f.Finalize(main, "key", "w", 5); !errors.Is(err, ErrUnknown) {
		t.Errorf("another version: %v", err)
	}
	made, err := f.Finalize(main, "key", "v", 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Finalize(second, "key", "v", 6); !errors.Is(err, ErrExists) {
		t.Errorf("the second job: %v", err)
	}
	if _, err := f.Reserve(second, "key", "v"); !errors.Is(err, ErrExists) {
		t.Errorf("a third upload: %v", err)
	}
	if err := f.Put(made.ID, "0", strings.NewReader("changed")); !errors.Is(err, ErrUnknown) {
		t.Errorf("a block for a finished entry: %v", err)
	}
	if got, err := f.read(made.ID, 0, -1); err != nil || got != "first" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := f.files(); len(got) != 2 {
		t.Errorf("files %q, want the block and the entry", got)
	}
}

func TestUploadIsReplaced(t *testing.T) {
	f := newStore(t, roomy)
	before := f.put(main, "key", "before")
	f.put(main, "key", "after")
	if err := f.Put(before, "1", strings.NewReader("late")); !errors.Is(err, ErrUnknown) {
		t.Errorf("a block of the first attempt: %v", err)
	}
	made, err := f.Finalize(main, "key", "v", 5)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.read(made.ID, 0, -1); err != nil || got != "after" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBlocks(t *testing.T) {
	f := newStore(t, roomy)
	id, err := f.Reserve(main, "key", "v")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 { // they end in any order
		group.Go(func() {
			if err := f.Put(id, fmt.Sprint(i), iotest.HalfReader(strings.NewReader(strings.Repeat(fmt.Sprint(i), chunk)))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := f.Put(id, "3", strings.NewReader("three")); err != nil { // again
		t.Fatal(err)
	}
	broken := map[string]io.Reader{
		"times out":       iotest.TimeoutReader(strings.NewReader(random(3 * chunk))),
		"ends too early":  io.MultiReader(strings.NewReader("cut"), iotest.ErrReader(io.ErrUnexpectedEOF)), // as a body of net/http
		"ends at a chunk": io.MultiReader(strings.NewReader(random(chunk)), iotest.ErrReader(io.ErrUnexpectedEOF)),
	}
	for what, body := range broken {
		if err := f.Put(id, "cut", body); err == nil {
			t.Errorf("a block that %s was kept", what)
		}
	}
	if err := f.Commit(id, []string{"7", "cut"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a list with an unknown block: %v", err)
	}
	if err := f.Commit(id, []string{"7", "3", "7"}); !errors.Is(err, ErrTwice) {
		t.Errorf("a list with a block twice: %v", err)
	}
	if err := f.Commit(id, []string{"7", "3"}); err != nil {
		t.Fatal(err)
	}
	made, err := f.Finalize(main, "key", "v", chunk+5)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.read(made.ID, chunk-1, -1); err != nil || got != "7three" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := f.files(); len(got) != 3 {
		t.Errorf("files %q, want two blocks and the entry", got)
	}
	for what, do := range map[string]func() error{
		"put":    func() error { return f.Put(id, "9", strings.NewReader("")) },
		"commit": func() error { return f.Commit(id, nil) },
	} {
		if err := do(); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
	if _, err := f.Reserve(main, "empty", "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Finalize(main, "empty", "v", 0); !errors.Is(err, ErrSize) {
		t.Errorf("an upload without blocks: %v", err)
	}
}

// A block that is still being written when its upload ends is not part of the entry, and takes no space.
func TestFinalizeWhileWriting(t *testing.T) {
	f := newStore(t, roomy)
	id := f.put(main, "key", "text")
	late, writer := io.Pipe()
	result := make(chan error)
	go func() {
		err := f.Put(id, "late", late)
		_ = late.Close() // a later write fails
		result <- err
	}()
	if _, err := writer.Write([]byte(random(2 * chunk))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Finalize(main, "key", "v", 4); err != nil {
		t.Fatal(err)
	}
	_, _ = writer.Write([]byte(random(chunk))) // refused
	_ = writer.Close()
	if err := <-result; !errors.Is(err, ErrUnknown) {
		t.Errorf("the late block: %v", err)
	}
	if got := f.files(); len(got) != 2 {
		t.Errorf("files %q, want one block and the entry", got)
	}
	if f.used.all != 4 {
		t.Errorf("%d bytes are used, want 4", f.used.all)
	}
}

func TestRoom(t *testing.T) {
	f := newStore(t, Limits{Size: 100, Repository: 60, Uploads: 2})
	other := Owner{"43", "refs/heads/main", "job"}
	f.save(main, "a", random(25))
	f.save(main, "b", random(25))
	f.save(other, "c", random(40))
	f.clock = f.clock.Add(time.Second)
	f.Find(Query{"42", []string{main.Scope}, "v", "a", nil}) // b is now the oldest of this repository
	f.save(main, "d", random(30))
	if got := strings.Join(f.keys(), " "); got != "a c d" {
		t.Errorf("after a repository's limit: %q, want a c d", got)
	}
	f.save(other, "e", random(20))
	if got := strings.Join(f.keys(), " "); got != "a d e" {
		t.Errorf("after the limit of all: %q, want a d e", got)
	}
	id, err := f.Reserve(main, "large", "v")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Put(id, "0", strings.NewReader(random(61))); !errors.Is(err, ErrNoRoom) {
		t.Errorf("an upload above the limit: %v", err)
	}
	if got, err := os.ReadDir(f.uploadDir(id)); err != nil || len(got) > 0 {
		t.Errorf("the refused block left %v, %v", got, err)
	}
	if got := strings.Join(f.keys(), " "); got != "a d e" {
		t.Errorf("after a refused block: %q, want a d e", got)
	}
	// Uploads count, and nothing that is read is removed for them.
	made := f.save(main, "f", random(30))
	reader, err := f.Reader(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Put(id, "0", strings.NewReader(random(40))); !errors.Is(err, ErrNoRoom) {
		t.Errorf("while an entry is read: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(id, "0", strings.NewReader(random(40))); err != nil {
		t.Errorf("after the reader's end: %v", err)
	}
	used := f.used
	f.open(Limits{Size: 100, Repository: 60, Uploads: 2})
	if f.used.all != used.all-40 || f.used.own[other.Repository] != used.own[other.Repository] {
		t.Errorf("used %+v, and %+v after a start, want less by the upload", used, f.used)
	}
}

func TestManyEntries(t *testing.T) {
	f := newStore(t, Limits{Size: 1 << 20, Uploads: 2, Entries: 2})
	f.save(Owner{"43", "refs/heads/main", "job"}, "other", "x")
	f.save(main, "a", "x")
	f.save(main, "b", "x")
	f.clock = f.clock.Add(time.Second)
	f.Find(Query{"42", []string{main.Scope}, "v", "a", nil}) // b is now the oldest of this repository
	f.save(main, "c", "x")
	if got := strings.Join(f.keys(), " "); got != "a c other" {
		t.Errorf("after the limit of entries: %q, want a c other", got)
	}
}

func TestManyUploads(t *testing.T) {
	f := newStore(t, Limits{Size: 1 << 20, Repository: 1 << 20, Uploads: 2, Idle: time.Hour, Age: 24 * time.Hour})
	f.put(main, "a", "a")
	f.put(main, "b", "b")
	if _, err := f.Reserve(main, "c", "v"); !errors.Is(err, ErrMany) {
		t.Errorf("a third upload: %v", err)
	}
	if _, err := f.Reserve(Owner{main.Repository, main.Scope, "another"}, "c", "v"); err != nil {
		t.Errorf("another job's upload: %v", err)
	}
	f.clock = f.clock.Add(time.Hour + time.Second)
	if removed, err := f.Expire(); err != nil || len(removed) > 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if left := f.files(); len(left) > 0 {
		t.Errorf("left %q of the uploads", left)
	}
	f.save(main, "a", "a")
	f.clock = f.clock.Add(23 * time.Hour)
	f.save(main, "b", "b")
	f.clock = f.clock.Add(2 * time.Hour)
	if removed, err := f.Expire(); err != nil || len(removed) != 1 || removed[0].Key != "a" {
		t.Errorf("removed %v, %v, want a", removed, err)
	}
	if got := strings.Join(f.keys(), " "); got != "b" {
		t.Errorf("left: %q, want b", got)
	}
	if removed, err := f.Prune(3 * time.Hour); err != nil || len(removed) != 0 {
		t.Errorf("pruned %v, %v, want nothing", removed, err)
	}
	if removed, err := f.Prune(time.Hour); err != nil || len(removed) != 1 || len(f.files()) > 0 {
		t.Errorf("pruned %v, %v, left %v, want b and nothing", removed, err, f.files())
	}
}

// copyOf copies a folder, as a crash would leave it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRemovedWhileRead(t *testing.T) {
	f := newStore(t, roomy)
	made := f.save(main, "key", "text")
	reader, err := f.Reader(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(made.ID); err != nil {
		t.Fatal(err)
	}
	again, err := Open(copyOf(t, f.dir), roomy, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.List(); len(got) > 0 {
		t.Errorf("a start found %v, want nothing", got)
	}
	var out bytes.Buffer
	if err := reader.Copy(&out, 0, reader.Size); err != nil || out.String() != "text" {
		t.Errorf("got %q, %v", &out, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if left := f.files(); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// No damaged byte is read, and the next job saves the entry again.
func TestDamage(t *testing.T) {
	whole := random(3 * chunk)
	for name, damage := range map[string]func(path string) error{
		"a changed byte": func(path string) error {
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteAt([]byte{whole[2*chunk+9] ^ 1}, 2*chunk+9)
			return errors.Join(err, file.Close())
		},
		"cut":     func(path string) error { return os.Truncate(path, 3*chunk-1) },
		"no file": os.Remove,
	} {
		f := newStore(t, roomy)
		made := f.save(main, "key", whole)
		if err := damage(filepath.Join(f.entryDir(made.ID), "1")); err != nil {
			t.Fatal(err)
		}
		got, err := f.read(made.ID, 0, -1)
		if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(whole, got) || len(got) > 2*chunk {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if left := f.files(); len(left) > 0 || len(f.List()) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
		f.save(main, "key", whole)
		if damaged, err := f.Verify(); err != nil || len(damaged) > 0 {
			t.Errorf("%s: after another save %v, %v are damaged", name, damaged, err)
		}
		if err := damage(filepath.Join(f.entryDir(f.List()[0].ID), "1")); err != nil {
			t.Fatal(err)
		}
		if damaged, err := f.Verify(); err != nil || len(damaged) != 1 || len(f.List()) > 0 {
			t.Errorf("%s: Verify found %v, %v", name, damaged, err)
		}
	}
}

// A start removes the remains of a crash.
func TestStartAfterACrash(t *testing.T) {
	f := newStore(t, roomy)
	f.save(main, "good", "text")
	cut := f.save(main, "cut", "text")
	none := f.save(main, "none", "text")
	f.put(main, "unfinished", "text")
	if err := os.Truncate(filepath.Join(f.entryDir(cut.ID), entryFile), 20); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(f.entryDir(none.ID), entryFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.entryDir(f.save(main, "moved", "text").ID), f.entryDir("1")); err != nil {
		t.Fatal(err)
	}
	f.open(roomy)
	if got := strings.Join(f.keys(), " "); got != "good" {
		t.Errorf("left: %q, want good", got)
	}
	if left := f.files(); len(left) != 2 {
		t.Errorf("left %q", left)
	}
}

// A disk that is full ends an upload, and nothing else.
func TestWriteFails(t *testing.T) {
	f := newStore(t, roomy)
	id, err := f.Reserve(main, "key", "v")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Put(id, "0", io.MultiReader(strings.NewReader("text"), iotest.ErrReader(io.ErrNoProgress))); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
	if err := os.RemoveAll(f.uploadDir(id)); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(id, "0", strings.NewReader("text")); err == nil {
		t.Error("a block without a folder was kept")
	}
	if f.uploads[id].size != 0 || f.uploads[id].writers != 0 {
		t.Errorf("got %+v, want nothing", f.uploads[id])
	}
}
