package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/runnerctl/runnerctl/internal/tools"
)

// Cache describes the cache of each host, which all its fleets share.
type Cache struct {
	Size       Size              `yaml:"size"`       // of all entries; 0: no cache
	Actions    bool              `yaml:"actions"`    // serves actions/cache and the like in GitHub's place
	Registries []string          `yaml:"registries"` // that are mirrored, like docker.io
	Upstreams  map[string]string `yaml:"upstreams"`  // URLs of registries that are asked in the place of a mirrored one
	Logins     map[string]Login  `yaml:"logins"`     // of the mirror at registries
	Preload    []string          `yaml:"preload"`    // images that each runner's daemon has from its start
	Tools      []string          `yaml:"tools"`      // that each runner has for the setup actions, like node@22
	ToolsFrom  string            `yaml:"toolsFrom"`  // URL of their manifests
}

// Login opens a registry. Its password is in a file.
type Login struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"passwordFile"`
}

// off in place of the section means that hosts have no cache.
const off = "off"

// UnmarshalYAML reads the section, or "off".
func (c *Cache) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		c.Size = 0
		return nil
	}
	type section Cache
	return node.Decode((*section)(c))
}

var registryPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*(:[0-9]+)?$`)

func (c Cache) validate() error {
	bad := func(field, format string, args ...any) error {
		return &Error{Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case c.Size != 0 && c.Size < 1<<30:
		return bad("cache.size", "%s: expected 1GiB or more, or 0 for no cache", c.Size)
	case len(c.Preload) > 0 && c.Size == 0:
		return bad("cache.preload", "requires a cache: set cache.size")
	case len(c.Tools) > 0 && c.Size == 0:
		return bad("cache.tools", "requires a cache: set cache.size")
	}
	for name, at := range c.Upstreams {
		to, isURL := webURL(at)
		if !isURL || strings.Trim(to.Path, "/") != "" {
			return bad("cache.upstreams", "%q is not a URL like https://registry.example.com", at)
		}
		if to.User != nil {
			return bad("cache.upstreams", "%s: a login in it would be readable in the container: use cache.logins", name)
		}
		if !slices.Contains(c.Registries, name) {
			return bad("cache.upstreams", "%q is not one of cache.registries", name)
		}
	}
	for name, login := range c.Logins {
		if !slices.Contains(c.Registries, name) {
			return bad("cache.logins", "%q is not one of cache.registries", name)
		}
		if login.Username == "" || login.PasswordFile == "" {
			return bad("cache.logins", "%s: expected a username and a passwordFile", name)
		}
	}
	for i, image := range c.Preload {
		if err := badImage(image); err != nil {
			return bad("cache.preload", "%q is not an image: %v", image, err)
		}
		if slices.Contains(c.Preload[:i], image) {
			return bad("cache.preload", "%q is listed twice", image)
		}
	}
	for i, tool := range c.Tools {
		if !tools.Known(tool) {
			return bad("cache.tools", "%q: expected a version of %s, like node@22", tool, strings.Join(tools.Names, ", "))
		}
		if slices.Contains(c.Tools[:i], tool) {
			return bad("cache.tools", "%q is listed twice", tool)
		}
	}
	switch from, isURL := webURL(c.ToolsFrom); {
	case !isURL:
		return bad("cache.toolsFrom", "%q is not a URL like https://raw.githubusercontent.com/actions", c.ToolsFrom)
	case from.User != nil:
		return bad("cache.toolsFrom", "a login in it would be readable in the runner")
	}
	for _, name := range c.Registries {
		if !registryPattern.MatchString(name) {
			return bad("cache.registries", "%q is not the name of a registry, like docker.io", name)
		}
	}
	return nil
}

// webURL parses a URL of http or https.
func webURL(text string) (to *url.URL, is bool) {
	to, err := url.Parse(text)
	return to, err == nil && to.Host != "" && (to.Scheme == "http" || to.Scheme == "https")
}
