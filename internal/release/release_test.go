package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func sum(text string) string {
	hash := sha256.Sum256([]byte(text))
	return hex.EncodeToString(hash[:])
}

func TestGivenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "actions-runner-linux-arm64-2.330.0.tar.gz")
	if err := os.WriteFile(path, []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{"", sum("archive"), strings.ToUpper(sum("archive"))} {
		got, err := Given(path, wanted)
		if want := (Archive{Version: "2.330.0", SHA256: sum("archive"), Source: path}); err != nil || got != want || got.Name() != "2.330.0" {
			t.Errorf("%q: %+v %v", wanted, got, err)
		}
	}
	var mismatch *MismatchError
	if _, err := Given(path, sum("other")); !errors.As(err, &mismatch) {
		t.Errorf("another hash: %v, want %T", err, mismatch)
	}
	if _, err := Given(path+"x", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v, want %v", err, os.ErrNotExist)
	}
	if name := (Archive{SHA256: sum("x")}).Name(); name != "sha256:"+sum("x")[:12] {
		t.Errorf("name %q, want %q", name, "sha256:"+sum("x")[:12])
	}
}

func TestChoose(t *testing.T) {
	list := []Offer{
		{"win", "x64", Archive{Version: "2.330.0", SHA256: sum("w"), Source: "https://x/w"}}, {"linux", "x64", Archive{Version: "2.330.0", SHA256: sum("a"), Source: "https://x/a"}},
		{"linux", "arm64", Archive{Version: "2.330.0", SHA256: sum("b"), Source: "https://x/b"}}, {"linux", "arm", Archive{Version: "2.330.0", SHA256: "", Source: "https://x/c"}},
	}
	pinned := Archive{Version: "2.329.0", SHA256: sum("p"), Source: "https://github.com/actions/runner/releases/download/v2.329.0/actions-runner-linux-arm64-2.329.0.tar.gz"}
	for _, test := range []struct {
		version, arch, sha256 string
		want                  Archive
		problem               string
	}{
		{"latest", "x86_64", "", list[1].Archive, ""},
		{"latest", "aarch64", "", list[2].Archive, ""},
		{"2.330.0", "amd64", "", list[1].Archive, ""},
		{"2.329.0", "arm64", sum("p"), pinned, ""},
		{"2.329.0", "arm64", "", Archive{}, "no SHA-256 of 2.329.0"},
		{"latest", "x86_64", sum("z"), Archive{}, "expected " + sum("z")},
		{"latest", "riscv64", "", Archive{}, "no agent for riscv64"},
		{"latest", "armv7l", "", Archive{}, "no SHA-256"},
	} {
		got, err := Choose(list, test.version, test.arch, test.sha256)
		if got != test.want || (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s %s: got %+v, %v, want %+v, %q", test.version, test.arch, got, err, test.want, test.problem)
		}
	}
}

func TestFetch(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/good":
			_, _ = w.Write([]byte("archive"))
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("arch"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	cache := t.TempDir()
	var last int64
	fetch := func(path, hash string) (string, error) {
		return Archive{Source: server.URL + path, SHA256: hash}.Fetch(t.Context(), server.Client(), cache, func(done, _ int64) { last = done })
	}
	var mismatch *MismatchError
	if _, err := fetch("/good", sum("other")); !errors.As(err, &mismatch) {
		t.Errorf("changed on the way: %v, want %T", err, mismatch)
	}
	if _, err := fetch("/short", sum("archive")); err == nil {
		t.Error("a file that is cut off is taken, want an error")
	}
	if _, err := fetch("/gone", sum("archive")); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("not there: %v, want 404", err)
	}
	if left, _ := os.ReadDir(cache); len(left) != 0 {
		t.Errorf("left in the cache: %v", left)
	}
	for range 2 {
		path, err := fetch("/good", sum("archive"))
		text, _ := os.ReadFile(path)
		if err != nil || string(text) != "archive" || last != 7 {
			t.Errorf("got %q, %v, %d bytes at last, want archive and 7", text, err, last)
		}
	}
	if asked != 4 {
		t.Errorf("asked %d times, want 4: the cache is not used", asked)
	}
	if err := os.WriteFile(filepath.Join(cache, sum("archive")+".tar.gz"), []byte("arch"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := fetch("/good", sum("archive"))
	if text, _ := os.ReadFile(path); err != nil || string(text) != "archive" || asked != 5 {
		t.Errorf("a broken one in the cache: %q %v, asked %d times, want archive, and 5 times", text, err, asked)
	}
	if path, err := (Archive{Source: "/a/file"}).Fetch(t.Context(), nil, cache, nil); path != "/a/file" || err != nil {
		t.Errorf("got %q, %v, want /a/file", path, err)
	}
}

// stream sends a little of an archive every now and then, and then nothing.
type stream struct {
	ctx   context.Context
	reads int
}

func (s *stream) RoundTrip(request *http.Request) (*http.Response, error) {
	s.ctx = request.Context()
	return &http.Response{StatusCode: http.StatusOK, Body: s, ContentLength: 100, Request: request}, nil
}

func (s *stream) Close() error { return nil }

func (s *stream) Read(p []byte) (int, error) {
	pause := time.After(stallLimit / 2)
	if s.reads++; s.reads > 5 {
		pause = nil
	}
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-pause:
		return copy(p, "x"), nil
	}
}

// A slow download continues, a stalled download ends.
func TestStalledDownload(t *testing.T) {
	cache := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		var got int64
		_, err := Archive{Source: "https://x/a", SHA256: sum("archive")}.Fetch(t.Context(), &http.Client{Transport: &stream{}}, cache, func(done, _ int64) { got = done })
		if !errors.Is(err, errStalled) || got != 5 || time.Since(started) != 5*stallLimit/2+stallLimit {
			t.Errorf("after %s and %d bytes: %v, want %s, 5 bytes and %v", time.Since(started), got, err, 5*stallLimit/2+stallLimit, errStalled)
		}
	})
}
