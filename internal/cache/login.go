package cache

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/runnerctl/runnerctl/internal/cache/durable"
)

// Login opens a registry for the mirror.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// logins are those of the mirror, by registry. They are kept in a file that only the cache reads, so
// that they are there after a restart.
type logins struct {
	file  string
	mutex sync.Mutex
	all   map[string]Login
}

// loginsIn reads the logins of a folder. With a damaged file there are none, until the next up.
func loginsIn(folder string, log *slog.Logger) *logins {
	l := &logins{file: filepath.Join(folder, "logins")}
	text, err := os.ReadFile(l.file)
	if err == nil {
		err = json.Unmarshal(text, &l.all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the logins at registries are lost: runnerctl up passes them again", "error", err)
		l.all = nil
	}
	return l
}

// set replaces all logins.
func (l *logins) set(all map[string]Login) error {
	text, err := json.Marshal(all) //nolint:gosec // a file of the cache alone
	if err != nil {
		return err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := durable.Write(l.file, text); err != nil {
		return err
	}
	l.all = all
	return nil
}

// of returns the login at a registry.
func (l *logins) of(registry string) authn.Authenticator {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	one, found := l.all[registry]
	if !found {
		return authn.Anonymous
	}
	return &authn.Basic{Username: one.Username, Password: one.Password}
}
