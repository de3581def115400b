// Package config reads and writes runnerctl.yaml.
package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"go.yaml.in/yaml/v3"
)

// DefaultFile is read from the working folder if no other file is named.
const DefaultFile = "runnerctl.yaml"

// Config is the configuration of one fleet.
type Config struct {
	Name    string  `yaml:"name"`
	Target  string  `yaml:"target"` // URL at GitHub; "" for runners without an agent
	Image   Image   `yaml:"image"`
	Runners Runners `yaml:"runners"`
	Docker  Docker  `yaml:"docker"`
	Cache   Cache   `yaml:"cache"`
	Network Network `yaml:"network"`
	GitHub  GitHub  `yaml:"github"`
	Hosts   []Host  `yaml:"hosts"` // none: the engine that docker itself uses

	Dir string `yaml:"-"` // folder of the file; "" if there is no file
}

// Resolve returns the path of a file that the settings name. Relative paths begin at the folder
// of runnerctl.yaml.
func (c Config) Resolve(path string) string {
	if filepath.IsAbs(path) || strings.Contains(path, "://") {
		return path
	}
	return filepath.Join(c.Dir, path)
}

// Image describes the runner image.
type Image struct {
	Base       string   `yaml:"base"`       // image for the job root filesystem
	Outer      string   `yaml:"outerBase"`  // image for the outer tree, which makes the user namespace
	Sudo       bool     `yaml:"sudo"`       // for jobs, inside their own machine
	Profile    string   `yaml:"profile"`    // one of Profiles: the packages that jobs find
	Packages   []string `yaml:"packages"`   // in addition to the profile's
	Dockerfile string   `yaml:"dockerfile"` // instructions for the end of the job root filesystem's stage
	Agent      Agent    `yaml:"agent"`      // installed if there is a target
	Buildx     Buildx   `yaml:"buildx"`
}

// Profiles are the sets of packages that an image may have, the smallest first.
var Profiles = []string{"minimal", "standard", "hosted"}

// Agent is GitHub's runner program in the image.
type Agent struct {
	Version string `yaml:"version"` // "latest", or like 2.330.0
	Archive string `yaml:"archive"` // file or URL of a release archive, instead of GitHub's own
	SHA256  string `yaml:"sha256"`  // of Archive, in hex; "" if GitHub's list has it
}

// Buildx is docker's buildx plugin in the image.
type Buildx struct {
	Version string `yaml:"version"` // "latest", one like 0.31.1, or "distribution" for the distribution's package
	Archive string `yaml:"archive"` // file or URL of the program, instead of a release at GitHub
	SHA256  string `yaml:"sha256"`  // of Archive, in hex
}

// GitHub describes how to reach the target's API. Tokens come from the environment
// (RUNNERCTL_TOKEN, GITHUB_TOKEN, GH_TOKEN), from a file, or from gh; never from here.
type GitHub struct {
	TokenFile string `yaml:"tokenFile"`
	App       App    `yaml:"app"`    // instead of a token
	CAFile    string `yaml:"caFile"` // PEM, in addition to the system's
	TokenFlag string `yaml:"-"`      // value of --token-file, which precedes all else
}

// App is a GitHub App that registers runners.
type App struct {
	ID             int64  `yaml:"id"`
	InstallationID int64  `yaml:"installationID"` // 0: looked up by the target
	KeyFile        string `yaml:"keyFile"`        // PEM
}

// Runners describes the number of runners, their size and their features.
type Runners struct {
	Count           int      `yaml:"count"`
	CPUs            float64  `yaml:"cpus"`
	Memory          Size     `yaml:"memory"`
	Pids            int64    `yaml:"pids"`
	Shm             Size     `yaml:"shm"`
	InnerPrivileged bool     `yaml:"innerPrivileged"`
	ReadyTimeout    Duration `yaml:"readyTimeout"`
	Spares          int      `yaml:"spares"`    // beyond count, without an agent's credential, to refill places at once
	Ephemeral       bool     `yaml:"ephemeral"` // with a target: the runner is gone after one job
	Labels          []string `yaml:"labels"`    // in addition to self-hosted, Linux and the architecture
	Group           string   `yaml:"group"`     // runner group of an organization or enterprise
	IDRange         int64    `yaml:"idRange"`   // user and group ids in a runner: NarrowIDs or WideIDs
	Runtime         string   `yaml:"runtime"`   // of the engine, like sysbox-runc; "" for its default
	Dockerd         Dockerd  `yaml:"dockerd"`   // settings of the runners' own daemons, as in daemon.json
	Syscalls        []string `yaml:"syscalls"`  // of Syscalls: allowed in addition to the usual ones
	Devices         []string `yaml:"devices"`   // of Devices: from the host, in addition to net/tun

	Env   map[string]string `yaml:"env"` // of jobs and exec; no place for secrets
	Proxy Proxy             `yaml:"proxy"`
}

// Docker describes when the runners' own daemons run.
type Docker struct {
	Start    string   `yaml:"start"`    // of DockerStarts; "": on-demand for runners with a target and one job, eager for all others
	IdleStop Duration `yaml:"idleStop"` // after which an unused daemon of a runner of many jobs stops, if it starts on demand; 0: never
}

// DockerStarts are the words of docker.start.
var DockerStarts = []string{"eager", "on-demand"}

// Proxy describes how a runner's daemon, its agent, jobs and builds reach other hosts.
type Proxy struct {
	HTTP    string   `yaml:"http"`  // URL; "" for none
	HTTPS   string   `yaml:"https"` // URL of the proxy for https, usually an http:// URL itself
	NoProxy []string `yaml:"noProxy"`
}

// Host is a machine with a Docker Engine.
type Host struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"` // a docker context's name, ssh://user@vm, tcp:// with TLS, unix://
	Count   *int   `yaml:"count"`   // of runners on it; nil: runners.count
}

// Network describes how runners reach other hosts.
type Network struct {
	Driver string `yaml:"driver"`
	MTU    int    `yaml:"mtu"` // bytes; 0: a value that suits the driver
}

// DriverMTU returns the MTU of runners in bytes: the configured one, or the default of the
// driver. libslirp, the library of slirp4netns, does not scale the TCP window, so at most
// 65535 bytes of an upload are in flight. As three packets they keep sender, slirp4netns and
// receiver busy at the same time; as one packet of 65520, each waits for the others.
func (n Network) DriverMTU() int {
	switch {
	case n.MTU != 0:
		return n.MTU
	case n.Driver == "pasta":
		return 65520
	default:
		return 65535/3 + 40 // plus the headers of IP and TCP
	}
}

// Default returns the values for settings that a file leaves out.
func Default() Config {
	return Config{
		Name:    "ci",
		Image:   Image{Base: "debian:trixie-slim", Outer: "debian:trixie-slim", Sudo: true, Profile: "standard", Agent: Agent{Version: "latest"}, Buildx: Buildx{Version: "latest"}},
		Runners: Runners{Count: 1, CPUs: 2, Memory: 4 << 30, Pids: 32768, Shm: 1 << 30, InnerPrivileged: true, IDRange: NarrowIDs, ReadyTimeout: Duration(60 * time.Second), Ephemeral: true, Group: "Default", Dockerd: Dockerd{}},
		Docker:  Docker{IdleStop: Duration(10 * time.Minute)},
		Cache:   Cache{Actions: true, Registries: []string{"docker.io"}, Upstreams: map[string]string{}, Logins: map[string]Login{}, Preload: []string{}, Tools: []string{}, ToolsFrom: "https://raw.githubusercontent.com/actions"},
		Network: Network{Driver: "slirp4netns"},
	}
}

// Duration is a time.Duration written like "60s".
type Duration time.Duration

// UnmarshalYAML reads "60s" or "2m".
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	value, err := time.ParseDuration(node.Value)
	if err != nil {
		return &Error{Line: node.Line, Problem: fmt.Sprintf("%q is not a duration, expected a value like 60s or 2m", node.Value)}
	}
	*d = Duration(value)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// Error is a setting that can't be used.
type Error struct {
	File    string
	Line    int    // 0 if unknown
	Field   string // "" if unknown
	Problem string
	Advice  string
	Err     error // the kind of the problem, for those that a command helps with; else nil
}

// Kinds of problems.
var (
	ErrUnread    = errors.New("the file can't be read")
	ErrNoRunners = errors.New("no runners wanted")
)

func (e *Error) Error() string {
	var text strings.Builder
	if e.File != "" {
		text.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&text, ":%d", e.Line)
		}
		text.WriteString(": ")
	}
	if e.Field != "" {
		text.WriteString(e.Field + ": ")
	}
	return text.String() + e.Problem
}

// Unwrap returns the kind of the problem.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns advice for the user.
func (e *Error) Hint() string { return e.Advice }

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)
	runtimePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	packagePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	versionPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
	hostPattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	sha256Pattern  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// Syscalls are the words of runners.syscalls. Devices are those of runners.devices; each is a
// file below /dev.
var (
	Syscalls = []string{"io_uring", "perf"}
	Devices  = []string{"fuse", "kvm", "vhost-net", "vhost-vsock"}
)

// The numbers of user and group ids that a runner can have for the files and processes of its
// jobs. The wide range takes ids of the host that a directory service may give to people.
const (
	NarrowIDs = 65536
	WideIDs   = 1 << 31
)

// MaxCount limits the size of a fleet on one engine.
const MaxCount = 200

// maxCPUs is above Linux's own limit. The engine limits the value to the machine's cores.
const maxCPUs = 8192

// Validate checks the values, whether they are from a flag, the environment or the file.
func (c Config) Validate() error {
	bad := func(field, format string, args ...any) error {
		return &Error{Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case !namePattern.MatchString(c.Name):
		return bad("name", "%q: expected up to 31 of a-z, 0-9 and -, not beginning with -", c.Name)
	case badImage(c.Image.Base) != nil:
		return bad("image.base", "%q is not an image: %v", c.Image.Base, badImage(c.Image.Base))
	case badImage(c.Image.Outer) != nil:
		return bad("image.outerBase", "%q is not an image: %v", c.Image.Outer, badImage(c.Image.Outer))
	case !slices.Contains(Profiles, c.Image.Profile):
		return bad("image.profile", "%q: expected %s", c.Image.Profile, strings.Join(Profiles, ", "))
	case c.Docker.Start != "" && !slices.Contains(DockerStarts, c.Docker.Start):
		return bad("docker.start", "%q: expected %s", c.Docker.Start, strings.Join(DockerStarts, " or "))
	case c.Docker.IdleStop < 0 || c.Docker.IdleStop > 0 && time.Duration(c.Docker.IdleStop) < time.Second:
		return bad("docker.idleStop", "%s: expected 0 or at least 1s", c.Docker.IdleStop)
	case c.Runners.Count < 1 || c.Runners.Count > MaxCount:
		problem := &Error{Field: "runners.count", Problem: fmt.Sprintf("%d: expected 1 to %d", c.Runners.Count, MaxCount)}
		if c.Runners.Count == 0 {
			problem.Err = ErrNoRunners
		}
		return problem
	case c.Runners.Spares < 0 || c.Runners.Spares > c.Runners.Count:
		return bad("runners.spares", "%d: expected 0 to runners.count, %d", c.Runners.Spares, c.Runners.Count)
	case !(c.Runners.CPUs > 0 && c.Runners.CPUs <= maxCPUs): // in this form, to refuse NaN too
		return bad("runners.cpus", "%g: expected more than 0, at most %d", c.Runners.CPUs, maxCPUs)
	case c.Runners.Memory < 512<<20:
		return bad("runners.memory", "%s: expected 512MiB or more", c.Runners.Memory)
	case c.Runners.Shm < 1<<20:
		return bad("runners.shm", "%s: expected 1MiB or more", c.Runners.Shm)
	case c.Runners.Pids < 512:
		return bad("runners.pids", "%d: expected 512 or more", c.Runners.Pids)
	case c.Runners.ReadyTimeout <= 0:
		return bad("runners.readyTimeout", "%s: expected more than 0", c.Runners.ReadyTimeout)
	case c.Runners.IDRange != NarrowIDs && c.Runners.IDRange != WideIDs:
		return bad("runners.idRange", "%d: expected %d or %d", c.Runners.IDRange, NarrowIDs, WideIDs)
	case c.Runners.Runtime != "" && !runtimePattern.MatchString(c.Runners.Runtime):
		return bad("runners.runtime", "%q is not the name of a container runtime", c.Runners.Runtime)
	case c.Network.Driver != "slirp4netns" && c.Network.Driver != "pasta":
		return bad("network.driver", "%q: expected slirp4netns or pasta", c.Network.Driver)
	case c.Network.MTU != 0 && (c.Network.MTU < 576 || c.Network.MTU > 65520):
		return bad("network.mtu", "%d: expected 576 to 65520, or 0 for the driver's default", c.Network.MTU)
	}
	for _, name := range c.Image.Packages {
		if !packagePattern.MatchString(name) {
			return bad("image.packages", "%q is not a package name", name)
		}
	}
	for _, list := range []struct {
		field        string
		words, known []string
	}{{"runners.syscalls", c.Runners.Syscalls, Syscalls}, {"runners.devices", c.Runners.Devices, Devices}} {
		for i, word := range list.words {
			if !slices.Contains(list.known, word) || slices.Contains(list.words[:i], word) {
				return bad(list.field, "%q: expected some of %s, each once", word, strings.Join(list.known, ", "))
			}
		}
	}
	if err := c.Cache.validate(); err != nil {
		return err
	}
	if err := agentRule.validate(c.Image.Agent.Version, c.Image.Agent.Archive, c.Image.Agent.SHA256); err != nil {
		return err
	}
	if err := buildxRule.validate(c.Image.Buildx.Version, c.Image.Buildx.Archive, c.Image.Buildx.SHA256); err != nil {
		return err
	}
	if err := c.Runners.validateEnvironment(); err != nil {
		return err
	}
	if err := c.validateHosts(); err != nil {
		return err
	}
	for _, key := range ownDockerd {
		if _, given := c.Runners.Dockerd[key]; given {
			return bad("runners.dockerd", "%s can't be set: a runner needs its own", key)
		}
	}
	if c.Target != "" {
		if target, err := url.Parse(c.Target); err != nil || target.Scheme != "https" || target.Host == "" {
			return bad("target", "%q: expected a URL like https://github.com/OWNER/REPO", c.Target)
		}
	}
	return nil
}

func badImage(name string) error {
	_, err := reference.ParseNormalizedNamed(name)
	return err
}

func (c Config) validateHosts() error {
	seen := map[string]bool{}
	for _, host := range c.Hosts {
		problem := ""
		switch {
		case !hostPattern.MatchString(host.Name):
			problem = fmt.Sprintf("name %q: expected letters, digits, _, . and -", host.Name)
		case seen[host.Name]:
			problem = fmt.Sprintf("%s is listed twice", host.Name)
		case host.Address == "":
			problem = host.Name + " has no address: a docker context's name, ssh://user@vm, tcp:// with TLS, or unix://"
		case host.Count != nil && (*host.Count < 0 || *host.Count > MaxCount):
			problem = fmt.Sprintf("%s: count %d: expected 0 to %d", host.Name, *host.Count, MaxCount)
		}
		if problem != "" {
			return &Error{Field: "hosts", Problem: problem}
		}
		seen[host.Name] = true
	}
	return nil
}

// CountOn returns how many runners a host should have.
func (c Config) CountOn(name string) int {
	for _, host := range c.Hosts {
		if host.Name == name && host.Count != nil {
			return *host.Count
		}
	}
	return c.Runners.Count
}

// Bases are the base images of an image, each once.
func (i Image) Bases() []string {
	if i.Outer == i.Base {
		return []string{i.Base}
	}
	return []string{i.Base, i.Outer}
}
