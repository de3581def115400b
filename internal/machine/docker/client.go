//go:build linux

package docker

import (
	"encoding/json"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/runnerctl/runnerctl/internal/machine/regular"
)

// ClientSettings is the file with a user's settings of docker commands, below the home.
const ClientSettings = ".docker/config.json"

// proxyKeys are the keys of a proxy in ClientSettings, by the variable with the same meaning.
var proxyKeys = map[string]string{"http_proxy": "httpProxy", "https_proxy": "httpsProxy", "no_proxy": "noProxy"}

// ClientProxy returns settings with which docker commands pass the proxy of an environment to
// containers and builds, or nil if there is no proxy.
func ClientProxy(env []string) []byte {
	proxy := map[string]string{}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if key := proxyKeys[name]; key != "" && value != "" {
			proxy[key] = value
		}
	}
	if proxy["httpProxy"] == "" && proxy["httpsProxy"] == "" {
		return nil
	}
	text, _ := json.Marshal(map[string]any{"proxies": map[string]any{"default": proxy}}) // it never fails
	return text
}

// AddClientSettings adds settings to those of a user. The init itself does so: in a runner that
// is started again, a job may have left links there, but an os.Root leads to no file outside the
// home, and no program of the job is run.
func AddClientSettings(home string, owner int, settings []byte) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return err
	}
	defer root.Close()
	const folder = ".docker"
	if err = root.Mkdir(folder, 0o700); err == nil {
		err = root.Lchown(folder, owner, owner)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	text, err := merge(readClientSettings(root), settings)
	if err != nil {
		return err
	}
	const next = ClientSettings + ".new"
	if err := root.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err := errors.Join(err, file.Chown(owner, owner), file.Close()); err != nil {
		return err
	}
	return root.Rename(next, ClientSettings)
}

// readClientSettings returns a user's settings. A file without any JSON counts as empty.
func readClientSettings(root *os.Root) []byte {
	file, err := root.OpenFile(ClientSettings, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		defer file.Close()
		if text, err := regular.Read(file); err == nil && json.Valid(text) {
			return text
		}
	}
	return []byte("{}")
}
