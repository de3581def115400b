// Package machine describes the runtime of a runner: its settings, which dockerx writes and the
// program in the image reads, and the places that both use. Its folders are the parts of that
// program. It imports no package of runnerctl.
package machine

import (
	"encoding/json"
	"fmt"
	"strings"
)

// EnvSettings is the variable that holds a runner's Settings as JSON. A credential is never in
// it: that comes on standard input.
const EnvSettings = "RUNNERCTL_SETTINGS"

// Variables for a container without runnerctl, which has no settings in JSON.
const (
	EnvJobs  = "RUNNERCTL_ENV"   // variables of jobs: NAME=VALUE, one per line
	EnvBip   = "RUNNERCTL_BIP"   // Docker.Bip
	EnvPools = "RUNNERCTL_POOLS" // Docker.Pools, with spaces between them
)

// Settings are a runner's settings. The zero value is that of a container that was started by
// hand.
type Settings struct {
	Network Network  `json:"network,omitzero"`
	Docker  Docker   `json:"docker,omitzero"`
	Shm     int64    `json:"shm,omitempty"` // bytes of /dev/shm; 0: 1 GiB
	Env     []string `json:"env,omitempty"` // NAME=VALUE, for jobs
	Agent   *Agent   `json:"agent,omitempty"`
	Cache   *Cache   `json:"cache,omitempty"` // of the host; nil: none
}

// Cache describes the use of the host's cache, whose socket is in CacheFolder.
type Cache struct {
	Actions    bool     `json:"actions,omitempty"`    // actions/cache, the setup actions and BuildKit's type=gha
	Registries []string `json:"registries,omitempty"` // that it mirrors, like docker.io
	Preload    bool     `json:"preload,omitempty"`    // a new daemon gets the images in PreloadFolder
}

// Places of a host's cache.
const (
	CacheFolder    = "/run/runnerctl-cache" // in the outer tree
	CacheSocket    = CacheFolder + "/cache.sock"
	CachePort      = 4180              // in the machine, for jobs, their containers and builds
	CacheAddress   = "169.254.213.100" // the same
	CacheHostPort  = CacheAddress + ":4180"
	ArchivesFolder = "/usr/lib/runnerctl/archives" // in the machine: archives of actions
	ToolsFolder    = "/usr/lib/runnerctl/tools"    // in the machine: a lower layer of ToolsPlace
	ToolsPlace     = "/opt/hostedtoolcache"        // in the machine: tools that the setup actions find
)

// Images that a runner has from its start.
const (
	PreloadFolder  = "/usr/lib/runnerctl/preload" // in the machine: the data of the daemon that pulled the images
	PreloadArchive = "images.tar"                 // in the folder: the images, if the storage driver is none of PreloadDrivers
)

// PreloadDrivers are the storage drivers whose layers a new daemon can link to: Docker's own, and
// containerd's.
var PreloadDrivers = []string{"overlay2", "overlayfs"}

// Network selects the way out of a runner.
type Network struct {
	Driver string `json:"driver,omitempty"` // SLIRP or Pasta; "": SLIRP
	MTU    int    `json:"mtu,omitempty"`    // bytes; 0: the best one for the driver
}

// The programs for a runner's network.
const (
	SLIRP = "slirp4netns"
	Pasta = "pasta"
)

// Docker are the settings of a runner's own daemon.
type Docker struct {
	Bip    string          `json:"bip,omitempty"`    // address and length of its bridge; "": 10.213.0.1/17
	Pools  []string        `json:"pools,omitempty"`  // for --default-address-pool
	Daemon json.RawMessage `json:"daemon,omitempty"` // an object, merged into the machine's daemon.json

	OnDemand bool `json:"onDemand,omitempty"` // it starts at its first use
	IdleStop int  `json:"idleStop,omitempty"` // seconds without a use after which it stops, if OnDemand; 0: never
}

// Agent are the settings of GitHub's agent.
type Agent struct {
	Mode      AgentMode `json:"mode"`
	URL       string    `json:"url"` // of the target
	Name      string    `json:"name"`
	Labels    []string  `json:"labels,omitempty"`
	Group     string    `json:"group,omitempty"`
	Ephemeral bool      `json:"ephemeral,omitempty"` // one job
	Spare     bool      `json:"spare,omitempty"`     // its credential arrives at any later time

	// Without runnerctl.
	API            string `json:"api,omitempty"`            // the target in GitHub's API; "": a runner of runnerctl
	Work           string `json:"work,omitempty"`           // the work folder; "": _work
	NoGitHubLabels bool   `json:"noGithubLabels,omitempty"` // omit self-hosted and the others
}

// AgentMode is the kind of an agent's credential.
type AgentMode string

// A JIT configuration and a registration token come from runnerctl or an operator; an access
// token and an App's key are exchanged for a registration token inside.
const (
	JIT         AgentMode = "jit"
	Token       AgentMode = "token"
	AccessToken AgentMode = "access"
	App         AgentMode = "app"
)

// MTUs that are the best for the drivers. SLIRP's TCP window never grows: three packets of this
// size fill it.
const (
	slirpMTU = 21885
	pastaMTU = 65520
)

// Default addresses hide no network of the usual private ranges' beginnings.
const defaultBip = "10.213.0.1/17"

var defaultPools = []string{"base=10.213.128.0/17,size=24"}

const defaultShm = 1 << 30

// FromEnvironment reads the settings of a container's environment.
func FromEnvironment(lookup func(string) string) (Settings, error) {
	var s Settings
	if text := lookup(EnvSettings); text != "" {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields() // of a newer runnerctl
		if err := decoder.Decode(&s); err != nil {
			return Settings{}, fmt.Errorf("%s: %w", EnvSettings, err)
		}
		return s.complete()
	}
	s.Docker.Bip, s.Docker.Pools = lookup(EnvBip), strings.Fields(lookup(EnvPools))
	if text := lookup(EnvJobs); text != "" {
		s.Env = strings.Split(text, "\n")
	}
	return s.complete()
}

// ProxyVariables returns the variables of a proxy in an environment: only these of the
// container's variables apply to the machine and its jobs.
func ProxyVariables(env []string) (kept []string) {
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		switch strings.ToLower(name) {
		case "http_proxy", "https_proxy", "no_proxy":
			kept = append(kept, pair)
		}
	}
	return kept
}

// complete returns the settings with all defaults.
func (s Settings) complete() (Settings, error) {
	switch s.Network.Driver {
	case "", SLIRP:
		s.Network.Driver = SLIRP
		if s.Network.MTU == 0 {
			s.Network.MTU = slirpMTU
		}
	case Pasta:
		if s.Network.MTU == 0 {
			s.Network.MTU = pastaMTU
		}
	default:
		return Settings{}, fmt.Errorf("unknown network driver %q: expected %s or %s", s.Network.Driver, SLIRP, Pasta)
	}
	if s.Docker.Bip == "" {
		s.Docker.Bip = defaultBip
	}
	if len(s.Docker.Pools) == 0 {
		s.Docker.Pools = defaultPools
	}
	if s.Shm == 0 {
		s.Shm = defaultShm
	}
	if s.Agent != nil {
		agent := *s.Agent
		if agent.Work == "" {
			agent.Work = "_work"
		}
		s.Agent = &agent
	}
	return s, nil
}
