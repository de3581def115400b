//go:build linux && cache

package cache

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var checksum = regexp.MustCompile(`[0-9a-f]{64}  data/file`)

// Two versions of the client save entries of several sizes, with zstd and with gzip, and restore the
// same bytes in another runner. A second entry with the same key is refused, and a missing one is no
// failure.
func TestClients(t *testing.T) {
	f := start(t, "", "")
	const withoutZstd = "sudo mv /usr/bin/zstd /usr/bin/zstd.away\n"
	for _, library := range []string{"cache4", "cache6"} {
		with := func(operation, key string) map[string]string {
			return map[string]string{"library": library, "operation": operation, "path": "data", "key": library + "-" + key}
		}
		for name, one := range map[string]struct {
			size    int // bytes
			prepare string
		}{"1 MB": {1_000_000, ""}, "50 MB": {50_000_000, ""}, "1 MB without zstd": {1_000_000, withoutZstd}} {
			t.Run(library+", "+name, func(t *testing.T) {
				saved := f.run("", fmt.Sprintf("%smkdir data && head -c %d /dev/urandom >data/file", one.prepare, one.size), with("save", name))
				restored := f.run("", one.prepare+"true", with("restore", name))
				want := checksum.FindString(saved.Log)
				if !strings.Contains(saved.Log, "saved true") || want == "" {
					t.Fatalf("save: %s, log:\n%s\nwant it saved", saved.Conclusion, saved.Log)
				}
				if !strings.Contains(restored.Log, "restored "+library+"-"+name) || !strings.Contains(restored.Log, want) {
					t.Errorf("restore: %s, log:\n%s\nwant %q", restored.Conclusion, restored.Log, want)
				}
			})
		}
		t.Run(library+", the same key again", func(t *testing.T) {
			again := f.run("", "mkdir data && echo other >data/file", with("save", "1 MB"))
			if again.Conclusion != "success" || !strings.Contains(again.Log, "saved false") {
				t.Errorf("%s, log:\n%s\nwant success without a new entry", again.Conclusion, again.Log)
			}
		})
		t.Run(library+", no entry", func(t *testing.T) {
			missed := f.run("", "true", with("restore", "none"))
			if missed.Conclusion != "success" || !strings.Contains(missed.Log, "restored undefined") {
				t.Errorf("%s, log:\n%s\nwant success without an entry", missed.Conclusion, missed.Log)
			}
		})
	}
}
