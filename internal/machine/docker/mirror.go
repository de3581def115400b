//go:build linux

package docker

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// Mirror is a mirror of registries, which serves plain HTTP.
type Mirror struct {
	Registries []string // names, like ghcr.io
	Loopback   string   // HOST:PORT for dockerd and its own BuildKit
	Address    string   // HOST:PORT for builders in containers
}

// hub is the registry of images whose names have none.
const hub = "docker.io"

// OfDockerHub returns the value of dockerd's flag for a mirror of Docker Hub; "" if there is none.
// The flag knows no other registry, and allows plain HTTP only on the loopback address.
func (m Mirror) OfDockerHub() string {
	if !slices.Contains(m.Registries, hub) {
		return ""
	}
	return "http://" + m.Loopback
}

// Files of other registries' mirrors. Docker 28 and newer read the first (docs.docker.com: registry
// host namespaces), below the home of root if dockerd is rootless. "docker buildx create" takes the
// second if no configuration is given.
const (
	hostsFile   = "hosts.toml"
	builderFile = ".docker/buildx/buildkitd.default.toml"
)

var hostsFolders = []string{"etc/docker/certs.d", "root/.config/docker/certs.d"}

// Write writes the files below root, and for users by their homes. A file that is there already
// stays: the image or a job has made it.
func (m Mirror) Write(root string, owners map[string]int) error {
	inside, err := os.OpenRoot(root) // a job may have left links, which lead to no other place
	if err != nil {
		return err
	}
	defer inside.Close()
	var failures []error
	for _, registry := range m.Registries {
		for _, folder := range hostsFolders {
			if registry != hub {
				failures = append(failures, writeNew(inside, path.Join(folder, registry, hostsFile), m.hosts(registry), os.Getuid()))
			}
		}
	}
	for home, owner := range owners {
		if len(m.Registries) > 0 {
			failures = append(failures, writeNew(inside, path.Join(home, builderFile), m.builder(), owner))
		}
	}
	return errors.Join(failures...)
}

// hosts returns a registry's hosts.toml.
func (m Mirror) hosts(registry string) string {
	return fmt.Sprintf("server = \"https://%s\"\n\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", registry, m.Loopback)
}

// builder returns the configuration of new builders.
func (m Mirror) builder() string {
	var text strings.Builder
	for _, registry := range m.Registries {
		fmt.Fprintf(&text, "[registry.%q]\n  mirrors = [%q]\n", registry, m.Address)
	}
	fmt.Fprintf(&text, "[registry.%q]\n  http = true\n", m.Address)
	return text.String()
}

// writeNew writes a file, with its folders, unless it exists.
func writeNew(root *os.Root, name, text string, owner int) error {
	folders := strings.Split(path.Dir(name), "/")
	for i := range folders {
		folder := path.Join(folders[:i+1]...)
		err := root.Mkdir(folder, 0o755)
		if err == nil && owner != os.Getuid() {
			err = root.Lchown(folder, owner, owner)
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err == nil && owner != os.Getuid() {
		err = file.Chown(owner, owner)
	}
	return errors.Join(err, file.Close())
}
