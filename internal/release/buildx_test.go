package release

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// buildxReleases answers like GitHub's API and its download host.
func buildxReleases(t *testing.T, digest, checksums string) *httptest.Server {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/repos/docker/buildx/releases/latest", "/repos/docker/buildx/releases/tags/v0.31.1":
			_ = json.NewEncoder(w).Encode(map[string]any{"tag_name": "v0.31.1", "assets": []map[string]string{
				{"name": "buildx-v0.31.1.linux-amd64", "browser_download_url": server.URL + "/program", "digest": digest},
				{"name": "buildx-v0.31.1.linux-amd64.sbom.json", "browser_download_url": server.URL + "/sbom", "digest": "sha256:" + sum("sbom")},
				{"name": "checksums.txt", "browser_download_url": server.URL + "/checksums"},
			}})
		case "/checksums":
			_, _ = w.Write([]byte(checksums))
		case "/program":
			_, _ = w.Write([]byte("program"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestBuildxOfARelease(t *testing.T) {
	sums := sum("sbom") + " *buildx-v0.31.1.linux-amd64.sbom.json\n" + strings.ToUpper(sum("program")) + " *buildx-v0.31.1.linux-amd64\n"
	for name, test := range map[string]struct{ digest, checksums, version, arch, problem string }{
		"newest, its digest in the list": {digest: "sha256:" + sum("program"), version: Latest, arch: "x86_64"},
		"a version":                      {digest: "sha256:" + sum("program"), version: "0.31.1", arch: "amd64"},
		"digest of checksums.txt":        {checksums: sums, version: Latest, arch: "amd64"},
		"no digest":                      {version: Latest, arch: "amd64", problem: "has no SHA-256 of buildx-v0.31.1.linux-amd64"},
		"no such version":                {version: "0.99.0", arch: "amd64", problem: "the server answered 404"},
		"no such architecture":           {digest: "sha256:" + sum("program"), version: Latest, arch: "s390x", problem: "the release v0.31.1 has no buildx-v0.31.1.linux-s390x"},
	} {
		t.Run(name, func(t *testing.T) {
			server := buildxReleases(t, test.digest, test.checksums)
			got, err := Buildx(t.Context(), server.Client(), server.URL, test.version, test.arch)
			if test.problem != "" {
				if err == nil || !strings.Contains(err.Error(), test.problem) {
					t.Errorf("got %+v, %v, want the error %q", got, err, test.problem)
				}
				return
			}
			if want := (Archive{What: "buildx", Version: "0.31.1", SHA256: sum("program"), Source: server.URL + "/program"}); err != nil || got != want {
				t.Fatalf("got %+v, %v, want %+v", got, err, want)
			}
			path, err := got.Fetch(t.Context(), server.Client(), t.TempDir(), func(int64, int64) {})
			if text, readErr := os.ReadFile(path); err != nil || readErr != nil || string(text) != "program" {
				t.Errorf("%s: %q %v %v, want %q", path, text, err, readErr, "program")
			}
		})
	}
}

func TestGivenBuildx(t *testing.T) {
	path := filepath.Join(t.TempDir(), "buildx-v0.31.1.linux-arm64")
	if err := os.WriteFile(path, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := GivenBuildx(path, ""); err != nil || got.Name() != "0.31.1" || got.SHA256 != sum("program") {
		t.Errorf("got %+v, %v, want 0.31.1 with the SHA-256 %s", got, err, sum("program"))
	}
	if _, err := GivenBuildx(path, sum("other")); err == nil || !strings.HasPrefix(err.Error(), "buildx "+path+": its SHA-256 is ") {
		t.Errorf("another hash: error %v, want %q at the beginning", err, "buildx "+path+": its SHA-256 is ")
	}
}
