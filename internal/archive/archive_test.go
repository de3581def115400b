package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// archived makes an archive of members written as "TYPE NAME [REST]": d folder,
// f file with REST as its text, l link to REST, h hard link to REST, c device.
func archived(t *testing.T, members ...string) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, member := range members {
		parts := strings.SplitN(member, " ", 3)
		parts = append(parts, "")
		header := &tar.Header{Name: parts[1], Mode: 0o6755, Uid: 7, ModTime: time.Unix(1000, 0)}
		switch parts[0] {
		case "d":
			header.Typeflag = tar.TypeDir
		case "f":
			header.Typeflag, header.Size = tar.TypeReg, int64(len(parts[2]))
		case "l":
			header.Typeflag, header.Linkname = tar.TypeSymlink, parts[2]
		case "h":
			header.Typeflag, header.Linkname = tar.TypeLink, parts[2]
		case "c":
			header.Typeflag = tar.TypeChar
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if parts[0] == "f" {
			if _, err := w.Write([]byte(parts[2])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// tree lists the content of a folder: files with their text, links with their target.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case name == ".":
		case entry.IsDir():
			all = append(all, name+"/")
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			all = append(all, name+">"+target)
			return err
		default:
			text, err := os.ReadFile(path)
			all = append(all, name+"="+string(text))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// Each case unpacks to dest/name, next to files that must not change.
func TestUnpack(t *testing.T) {
	const around = "dest/ dest/around/ dest/around/secret=kept"
	tests := []struct {
		title   string
		before  []string // members of an archive that fills dest first
		members []string
		name    string
		want    string // below the place for it all
		problem string
	}{
		{"a folder", nil, []string{"d a/", "f a/f text", "d a/b", "l a/b/l ../f"}, "x", around + " dest/x/ dest/x/b/ dest/x/b/l>../f dest/x/f=text", ""},
		{"contents", nil, []string{"d ./", "f ./f text"}, ".", around + " dest/f=text", ""},
		{"a file, whatever its archive calls it", nil, []string{"f ../../etc/passwd text"}, "x", around + " dest/x=text", ""},
		{"a file over a link", []string{"l x around/secret"}, []string{"f x text"}, "x", around + " dest/x=text", ""},
		{"a folder over an older one of itself", []string{"d x", "f x/f old", "f x/own mine", "l x/l own"}, []string{"d x", "f x/f new", "d x/l", "f x/l/f text"}, "x",
			around + " dest/x/ dest/x/f=new dest/x/l/ dest/x/l/f=text dest/x/own=mine", ""},
		{"a folder, and only that", nil, []string{"d a"}, "x/", around + " dest/x/", ""},
		{"a file where only a folder will do", nil, []string{"f a text"}, "x/", around, "no such folder"},
		{"nothing", nil, nil, "x", around, "the archive is empty"},
		{"up and out", nil, []string{"d a", "f a/../../out evil"}, "x", around + " dest/x/", "outside the requested path"},
		{"an absolute name", nil, []string{"d a", "f /tmp/out evil"}, "x", around + " dest/x/", "outside the requested path"},
		{"around what was asked for", nil, []string{"d a", "f around/secret evil"}, "x", around + " dest/x/", "outside the requested path"},
		{"a link out is left out, what is below it becomes a folder", nil, []string{"d a", "l a/l ../around", "f a/l/secret evil"}, "x", around + " dest/x/ dest/x/l/ dest/x/l/secret=evil", ""},
		{"an absolute link", nil, []string{"d a", "l a/l /", "f a/l/secret evil"}, "x", around + " dest/x/ dest/x/l/ dest/x/l/secret=evil", ""},
		{"a link within, written through", nil, []string{"d a", "d a/d", "l a/l d", "f a/l/f evil"}, "x", around + " dest/x/ dest/x/d/ dest/x/l>d", "symbolic link"},
		{"links that lead out together", nil, []string{"d a", "d a/d", "l a/d/here .", "l a/l d/here/../../around"}, "x", around + " dest/x/ dest/x/d/ dest/x/d/here>.", ""},
		{"a link as the whole", nil, []string{"l a ../around", "f a/secret evil"}, "x", around, "a symbolic link out of the destination"},
		{"a link that lay in the way of a folder", []string{"l x around"}, []string{"d a", "f a/secret evil"}, "x", around + " dest/x>around", "symbolic link"},
		{"a link that lay in the way within", []string{"d x", "l x/l ../around"}, []string{"d a", "f a/l/secret evil"}, "x", around + " dest/x/ dest/x/l>../around", "symbolic link"},
		{"a hard link", nil, []string{"d a", "h a/h ../around/secret"}, "x", around + " dest/x/", ""},
		{"a device", nil, []string{"d a", "c a/c"}, "x", around + " dest/x/", ""},
		{"a folder over a file", []string{"f x mine"}, []string{"d a"}, "x", around + " dest/x=mine", "can't replace a file with a folder"},
		{"a file over a folder", []string{"d x"}, []string{"f a text"}, "x", around + " dest/x/", "can't replace a folder with a file"},
	}
	for _, test := range tests {
		t.Run(test.title, func(t *testing.T) {
			top := t.TempDir()
			dest := filepath.Join(top, "dest")
			if err := os.MkdirAll(filepath.Join(dest, "around"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dest, "around", "secret"), []byte("kept"), 0o644); err != nil {
				t.Fatal(err)
			}
			if test.before != nil {
				if _, err := Unpack(archived(t, append([]string{"d ."}, test.before...)...), dest, "."); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Unpack(archived(t, test.members...), dest, test.name)
			if test.problem == "" && err != nil || test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)) {
				t.Errorf("error %v, want %q", err, test.problem)
			}
			if got := tree(t, top); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// The target of an existing link is not written, even if the caller created the link.
func TestUnpackDoesNotFollowOwnLinks(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"dest/x", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../elsewhere", filepath.Join(top, "dest", "x", "l")); err != nil {
		t.Fatal(err)
	}
	_, err := Unpack(archived(t, "d a", "f a/l/f evil"), filepath.Join(top, "dest"), "x")
	var hostile *HostileError
	if !errors.As(err, &hostile) {
		t.Errorf("error %v, want %T", err, hostile)
	}
	if got := tree(t, filepath.Join(top, "elsewhere")); got != "" {
		t.Errorf("got %q, want nothing outside", got)
	}
}

func TestUnpackModesAndTimes(t *testing.T) {
	dir := t.TempDir()
	if _, err := Unpack(archived(t, "d a", "f a/f text"), dir, "x"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "x/f"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode()&^fs.ModeDir != 0o755 || info.ModTime().Unix() != 1000 {
			t.Errorf("%s: %v %s, want mode 0755 and second 1000", name, info.Mode(), info.ModTime())
		}
	}
}

// Pack, then Unpack: the same again, without the bits that cross no border.
func TestPackUnpack(t *testing.T) {
	source := t.TempDir()
	if _, err := Unpack(archived(t, "d .", "d d", "f d/f text", "l l d/f"), source, "."); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(source, "d", "f"), 0o755|fs.ModeSetuid|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"n": "n/ n/d/ n/d/f=text n/l>d/f", ".": "d/ d/f=text l>d/f"} {
		var stream bytes.Buffer
		out := tar.NewWriter(&stream)
		if name == "." { // the first entry of tar -C DIR .
			if err := out.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
				t.Fatal(err)
			}
		}
		summary, err := Pack(out, source, name, 101000)
		if err != nil || out.Close() != nil || summary.Files != 1 || summary.Bytes != 4 {
			t.Fatalf("got %+v, %v, want 1 file of 4 bytes", summary, err)
		}
		for reader := tar.NewReader(bytes.NewReader(stream.Bytes())); ; {
			header, err := reader.Next()
			if err != nil {
				break
			}
			if header.Mode&^permissions != 0 || header.Uid != 101000 && header.Name != "./" {
				t.Errorf("%s: mode %o, uid %d, want at most %o and 101000", header.Name, header.Mode, header.Uid, permissions)
			}
		}
		target := t.TempDir()
		if _, err := Unpack(&stream, target, name); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, target); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestCopyCleans(t *testing.T) {
	var stream bytes.Buffer
	out := tar.NewWriter(&stream)
	summary, err := Copy(out, tar.NewReader(archived(t, "d ./", "d a", "f a/f text", "c a/c", "l a/l /etc")), 0)
	if err != nil || out.Close() != nil || summary.Files != 1 || len(summary.Skipped) != 1 {
		t.Fatalf("got %+v, %v, want 1 file, 1 skipped", summary, err)
	}
	var names []string
	for reader := tar.NewReader(&stream); ; {
		header, err := reader.Next()
		if err != nil {
			break
		}
		names = append(names, header.Name)
		if header.Mode != 0o755 || header.Uid != 0 {
			t.Errorf("%s: mode %o, uid %d, want 755 and 0", header.Name, header.Mode, header.Uid)
		}
	}
	if got := strings.Join(names, " "); got != "a/ a/f a/l" && got != "a a/f a/l" {
		t.Errorf("got %q, want %q", got, "a/ a/f a/l")
	}
}

func TestStream(t *testing.T) {
	var plain, packed bytes.Buffer
	out := tar.NewWriter(&plain)
	if err := out.WriteHeader(&tar.Header{Name: "x", Mode: 0o600, Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	compressed := gzip.NewWriter(&packed)
	if _, err := compressed.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"plain": plain.Bytes(), "packed": packed.Bytes()} {
		in, err := Stream(bytes.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if header, err := in.Next(); err != nil || header.Name != "x" {
			t.Errorf("%s: %+v, %v, want x", name, header, err)
		}
	}
	if in, err := Stream(strings.NewReader("")); err != nil {
		t.Errorf("nothing: %v", err)
	} else if _, err := in.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("an empty archive: %v, want %v", err, io.EOF)
	}
	for _, text := range []string{"garbage", strings.Repeat("garbage ", 200), "\xfd7zXZ\x00" + strings.Repeat("\x00", 600)} {
		if _, err := Stream(strings.NewReader(text)); !errors.Is(err, ErrNoArchive) {
			t.Errorf("%.10q: %v, want %v", text, err, ErrNoArchive)
		}
	}
	if _, err := Stream(bytes.NewReader(packed.Bytes()[:5])); err == nil {
		t.Error("half a head of gzip is taken, want an error")
	}
}
