// Package fleet is the domain: what runners are wanted, which exist, and what
// has to be done about the difference.
package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// Role of a container of ours. Throw-away runners are not counted by up and down.
type Role string

// The roles.
const (
	Member    Role = "runner" // of its fleet
	ThrowAway Role = "run"    // made by run, gone with it
	Kept      Role = "kept"   // made by run --keep, stays when it ends
	Lock      Role = "lock"   // lives as long as the process that changes a fleet
	Hold      Role = "hold"   // lives as long as the process that runs a throw-away runner
	Probe     Role = "probe"  // looks at the engine's machine for a moment

	Supervisor Role = "supervisor" // keeps a fleet as wished; its name is the lock
	StateRole  Role = "state"      // volume of a fleet's wish, records and events
	Credential Role = "credential" // volume of what a supervisor asks GitHub with
)

// Spec is how one runner is made. Two runners of equal Spec are interchangeable.
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
	Runtime         string   `json:",omitempty"` // of the engine; "" for its default. Omitted so that older fleets keep their hash
	Dockerd         string   `json:",omitempty"` // settings of its own daemon, a JSON object; "" for none
	CAs             []byte   `json:",omitempty"` // PEM, which a machine with an agent trusts beyond its own list
	Syscalls        []string `json:",omitempty"` // opened beyond the usual ones: io_uring, perf
	Devices         []string `json:",omitempty"` // of the host, below /dev, beyond net/tun

	Env   map[string]string `json:",omitempty"` // of jobs
	Proxy *Proxy            `json:",omitempty"` // nil: none

	Role Role `json:"-"` // runners of one fleet are compared, and all of these have the same

	// Chosen so that they overlap no outer network, and so not part of Hash: a
	// new network on the host must not replace a fleet that runs.
	Bip  string // CIDR of the inner docker0
	Pool string // inner address pool, as base=CIDR,size=N
	// What the engine can give: not part of Hash for the same reason.
	Ulimits []Ulimit `json:",omitempty"`
}

// Proxy is a runner's way out.
type Proxy struct {
	HTTP, HTTPS string   // URLs; "" for none
	Except      []string // hosts and networks that are reached without
}

// AgentMode is what a runner's agent is given to register with.
type AgentMode string

// The modes.
const (
	NoAgent AgentMode = ""
	JIT     AgentMode = "jit"   // a JIT configuration: one job
	Token   AgentMode = "token" // a registration token
)

// Agent is how a runner's GitHub agent is set up; the secret goes in beside it.
type Agent struct {
	Mode      AgentMode
	URL       string   // the target
	Labels    []string // sorted
	Group     string
	Ephemeral bool
}

// OneJob tells whether the agent ends after its first job; a JIT configuration
// allows for no other.
func (a Agent) OneJob() bool { return a.Ephemeral || a.Mode == JIT }

// Hash identifies the spec; a runner with another hash is replaced by up.
func (s Spec) Hash() string {
	s.Bip, s.Pool, s.Ulimits = "", "", nil
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain fields only: cannot fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}

// State of a runner's container, in the engine's words.
type State string

// The states that decisions are made on; others are passed through.
const (
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Exited     State = "exited"
)

// Runner is one runner as the engine shows it. The JSON form is the public
// shape of `ps -o json`.
type Runner struct {
	Name          string    `json:"name"`
	Fleet         string    `json:"fleet"`
	Role          Role      `json:"role"`
	Host          string    `json:"host"`
	State         State     `json:"state"`
	Ready         bool      `json:"ready"` // its inner daemon answers
	Busy          bool      `json:"busy"`  // a container or a process of runner's runs in it
	Image         string    `json:"image"`
	Created       time.Time `json:"created"`
	ContainerID   string    `json:"container_id"`
	Problem       string    `json:"problem,omitempty"` // why a runner that was ready once can't be used by jobs now
	DockerVersion string    `json:"docker_version"`
	Restarts      int       `json:"restarts"`  // of the inner daemons, by the runner's own init
	DiskFree      int64     `json:"disk_free"` // bytes for the inner daemon's data
	CPUs          float64   `json:"cpus"`
	Memory        int64     `json:"memory"`
	Revivals      int       `json:"container_restarts"` // how often the engine started its container again after it ended
	Listing       *Listing  `json:"github,omitempty"`   // nil: no agent, or GitHub was not asked

	Agent       Agent  `json:"-"` // as it was made
	ExitCode    int    `json:"-"` // of the last end
	OutOfMemory bool   `json:"-"` // so the kernel killed a process of it
	Spare       bool   `json:"-"` // made to be given its credential later
	Waiting     bool   `json:"-"` // its agent waits for the credential still (after a look inside)
	ImageID     string `json:"-"`
	SpecHash    string `json:"-"`
}

// DiskFull tells whether the inner daemon has no room left to work in.
func (r Runner) DiskFull() bool { return r.Ready && r.DiskFree < 16<<20 }

// Engine is the host that runners live on.
type Engine interface {
	// Runners lists the fleet's runners; where fleet is "", every runner on the
	// engine, throw-away ones too.
	Runners(ctx context.Context, fleet string) ([]Runner, error)
	// Names lists every container name on the engine, foreign ones too.
	Names(ctx context.Context) (map[string]bool, error)
	// Create makes and starts a runner and writes the credential, where there is
	// one, to its standard input. On an error nothing of it is left.
	Create(ctx context.Context, name string, spec Spec, credential secret.Text) (Runner, error)
	// Ended tells whether a runner's container has ended for good, and its exit code.
	Ended(ctx context.Context, runner Runner) (code int, ended bool, err error)
	// WaitReady blocks until the inner daemon answers and returns its version.
	WaitReady(ctx context.Context, runner Runner) (version string, err error)
	// Cancel ends a runner's job; Remove gives it time.
	Cancel(ctx context.Context, runner Runner) error
	// Remove stops a runner gracefully and removes container and volume; once
	// begun it is not cut short by ctx.
	Remove(ctx context.Context, runner Runner) error
	// RemoveAtOnce is Remove without the stop, for what never had a job: one that was
	// started just now may not hear that it is to stop.
	RemoveAtOnce(ctx context.Context, runner Runner) error
	// LastLines returns the end of a runner's log.
	LastLines(ctx context.Context, runner Runner, n int) []string
}

// NotReadyError says that a runner's inner daemon did not come up.
type NotReadyError struct {
	Runner string
	After  time.Duration
	Err    error
	Lines  []string
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("runner %s: the inner Docker daemon is not up after %s", e.Runner, e.After.Round(100*time.Millisecond))
}

// Unwrap gives the cause.
func (e *NotReadyError) Unwrap() error { return e.Err }

// Cause names what is known of the reason.
func (e *NotReadyError) Cause() string { return e.Err.Error() }

// Last holds the runner's last log lines.
func (e *NotReadyError) Last() []string { return e.Lines }

// Hint says what to do.
func (e *NotReadyError) Hint() string {
	return "runnerctl up tries again; runnerctl doctor checks the host, and with --deep a runner"
}
