// Package fleet is the domain: the desired and the observed state of a fleet, and the pure
// decision about the difference. It imports internal/secret only.
package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Role is the purpose of a container that runnerctl made. up and down do not count throw-away
// runners.
type Role string

// The roles.
const (
	Member    Role = "runner" // belongs to its fleet
	ThrowAway Role = "run"    // made by run, removed when run ends
	Kept      Role = "kept"   // made by run --keep, stays after run ends
	Lock      Role = "lock"   // lives as long as the process that changes a fleet
	Hold      Role = "hold"   // lives as long as the process that runs a throw-away runner
	Probe     Role = "probe"  // inspects the engine's machine, then goes

	Supervisor Role = "supervisor" // keeps a fleet in its desired state; its name is the lock
	StateRole  Role = "state"      // volume with a fleet's desired state, records and events
	Credential Role = "credential" // volume with the supervisor's GitHub credential
	Proof      Role = "proof"      // empty volume: an image works on the engine
	CacheRole  Role = "cache"      // container of an engine's cache, and its volumes
	Preload    Role = "preload"    // runner that pulls images for others, and the volume with them
)

// Spec describes how a runner is made. Two runners of equal Spec are interchangeable.
type Spec struct {
	Fleet           string
	Image           string  // tag
	ImageID         string  // the engine's id of Image
	CPUs            float64 // cores
	Memory          int64   // bytes
	Pids            int64   // processes and threads
	Shm             int64   // bytes of /dev/shm inside
	InnerPrivileged bool
	NetworkDriver   string // slirp4netns or pasta
	MTU             int    // bytes, outer tap and inner bridges alike
	AppArmor        string // profile name
	Agent           Agent
	Runtime         string   `json:",omitempty"` // engine runtime; "" for its default. Omitted if empty: old hashes stay
	Dockerd         string   `json:",omitempty"` // settings of the inner daemon, a JSON object; "" for none
	CAs             []byte   `json:",omitempty"` // PEM; trusted by a runner with an agent beyond its own list
	Syscalls        []string `json:",omitempty"` // allowed in addition to the default ones: io_uring, perf
	Devices         []string `json:",omitempty"` // host devices below /dev, in addition to net/tun

	Env   map[string]string `json:",omitempty"` // of jobs
	Proxy *Proxy            `json:",omitempty"` // nil: none

	DockerStart DockerStart   `json:",omitempty"`
	IdleStop    time.Duration `json:",omitempty"` // after which an unused inner daemon stops, if it starts on demand; 0: never

	Cache *Cache `json:",omitempty"` // nil: runners do not use the cache of their host

	Role Role `json:"-"` // not hashed: only runners of one fleet are compared, and they share one role

	// Chosen so that they overlap no outer network. They are not part of Hash: a new network
	// on the host must not replace a running fleet.
	Bip  string // CIDR of the inner docker0
	Pool string // inner address pool, as base=CIDR,size=N
	// Limited by the limits of the engine. Not part of Hash for the same reason.
	Ulimits []Ulimit `json:",omitempty"`
}

// DockerStart is when an inner daemon starts.
type DockerStart string

// The times. By default, the daemon of a runner that has an agent and one job starts on demand,
// and all others at once.
const (
	DefaultStart DockerStart = ""
	Eager        DockerStart = "eager"
	OnDemand     DockerStart = "on-demand"
)

// OnDemand reports whether the inner daemon starts at its first use.
func (s Spec) OnDemand() bool {
	if s.DockerStart == DefaultStart {
		return s.Agent.Mode != NoAgent && s.Agent.OneJob()
	}
	return s.DockerStart == OnDemand
}

// Cache is the use of a host's cache by a runner.
type Cache struct {
	Actions    bool     // actions/cache, the setup actions and BuildKit's type=gha
	Registries []string `json:",omitempty"` // that it mirrors, like docker.io
	Preload    string   `json:",omitempty"` // volume with the images of a new daemon; "": none
}

// Proxy is the proxy that a runner uses for outbound connections.
type Proxy struct {
	HTTP, HTTPS string   // URLs; "" for none
	Except      []string // hosts and networks that are reached directly
}

// Start is the way in which a runner starts. It is not part of Spec: runners that started in
// different ways are interchangeable once they take jobs.
type Start string

// The ways to start.
const (
	Usual Start = ""      // with its credential, if it has an agent
	Spare Start = "spare" // without its credential, which it gets later (Give)
	Prove Start = "prove" // with its inner daemon, which otherwise starts on demand, to prove that the image works
)

// AgentMode is the kind of credential that a runner's agent registers with.
type AgentMode string

// The modes.
const (
	NoAgent AgentMode = ""
	JIT     AgentMode = "jit"   // a JIT configuration: one job
	Token   AgentMode = "token" // a registration token
)

// Agent is the configuration of a runner's GitHub agent. The secret is passed separately.
type Agent struct {
	Mode      AgentMode
	URL       string   // the target
	Labels    []string // sorted
	Group     string
	Ephemeral bool
}

// OneJob reports whether the agent ends after its first job. A JIT configuration always allows
// only one.
func (a Agent) OneJob() bool { return a.Ephemeral || a.Mode == JIT }

// Hash identifies the spec. up replaces a runner whose hash differs.
func (s Spec) Hash() string {
	s.Bip, s.Pool, s.Ulimits = "", "", nil
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain fields only: cannot fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}

// State is the state of a runner's container, as the engine names it.
type State string

// States that decisions depend on. Others are passed through.
const (
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Exited     State = "exited"
)

// Ended reports whether nothing runs in a container of this state.
func (s State) Ended() bool { return s == Exited || s == "dead" || s == "created" }

// Runner is a runner as the engine shows it. The JSON form is the public shape of `ps -o
// json`.
type Runner struct {
	Name          string    `json:"name"`
	Fleet         string    `json:"fleet"`
	Role          Role      `json:"role"`
	Host          string    `json:"host"`
	State         State     `json:"state"`
	Ready         bool      `json:"ready"` // its inner daemon answers, or starts on demand
	Busy          bool      `json:"busy"`  // a container or a process of the user runner is running in it
	Image         string    `json:"image"`
	Created       time.Time `json:"created"`
	ContainerID   string    `json:"container_id"`
	Problem       string    `json:"problem,omitempty"` // why jobs can't currently use a runner that was ready before
	DockerVersion string    `json:"docker_version"`    // "" if the inner daemon starts on demand and has not run yet
	Restarts      int       `json:"restarts"`          // of the inner daemons, by the runner's init process
	DiskFree      int64     `json:"disk_free"`         // bytes available for the inner daemon's data
	CPUs          float64   `json:"cpus"`
	Memory        int64     `json:"memory"`
	Revivals      int       `json:"container_restarts"` // how often the engine restarted its container after it exited
	Listing       *Listing  `json:"github,omitempty"`   // nil: no agent, or GitHub was not queried
	Cache         *CacheUse `json:"cache,omitempty"`    // its use of the host's cache so far; nil: none

	Cached      bool   `json:"-"` // it may use the host's cache
	Agent       Agent  `json:"-"` // its configuration at creation
	ExitCode    int    `json:"-"` // of its last exit
	OutOfMemory bool   `json:"-"` // the kernel killed one of its processes for it
	Start       Start  `json:"-"` // stays the same after a spare has got its credential
	Waiting     bool   `json:"-"` // its agent still waits for the credential (known only after a look inside)
	ImageID     string `json:"-"`
	SpecHash    string `json:"-"`
}

// DiskFull reports whether the inner daemon has no disk space left to work with.
func (r Runner) DiskFull() bool { return r.Ready && r.DiskFree < 16<<20 }

// Daemon describes the runner's inner daemon.
func (r Runner) Daemon() string {
	if r.DockerVersion == "" {
		return "daemon on demand"
	}
	return "daemon " + r.DockerVersion
}

// NotReadyError reports that a runner's inner daemon did not come up.
type NotReadyError struct {
	Runner string
	After  time.Duration
	Err    error
	Lines  []string
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("runner %s: the inner Docker daemon is not up after %s", e.Runner, e.After.Round(100*time.Millisecond))
}

// Unwrap returns the cause.
func (e *NotReadyError) Unwrap() error { return e.Err }

// Cause returns the known reason.
func (e *NotReadyError) Cause() string { return e.Err.Error() }

// Last returns the runner's last log lines.
func (e *NotReadyError) Last() []string { return e.Lines }
