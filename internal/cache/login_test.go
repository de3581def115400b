package cache

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Logins are there after a restart, and only the cache can read them.
func TestLogins(t *testing.T) {
	folder, log := t.TempDir(), slog.New(slog.DiscardHandler)
	first := loginsIn(folder, log)
	if first.of("docker.io") != authn.Anonymous {
		t.Error("a login from nowhere")
	}
	if err := first.set(map[string]Login{"docker.io": {Username: "me", Password: "secret"}}); err != nil {
		t.Fatal(err)
	}
	again := loginsIn(folder, log)
	for _, one := range []*logins{first, again} {
		if got, err := one.of("docker.io").Authorization(); err != nil || got.Username != "me" || got.Password != "secret" {
			t.Errorf("got %+v, %v", got, err)
		}
		if one.of("ghcr.io") != authn.Anonymous {
			t.Error("the login is used at another registry")
		}
	}
	file, err := os.Stat(filepath.Join(folder, "logins"))
	if err != nil || file.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", file, err)
	}
	if err := os.Truncate(filepath.Join(folder, "logins"), 9); err != nil {
		t.Fatal(err)
	}
	if damaged := loginsIn(folder, log); damaged.of("docker.io") != authn.Anonymous {
		t.Error("a login from a damaged file")
	}
}
