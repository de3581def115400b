package fleet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// DesiredSchema is the version of the format of Desired.
const DesiredSchema = 1

// Desired is the desired state of a fleet that a supervisor maintains: one JSON document, which
// is rewritten as a whole on each change. It contains no secret.
type Desired struct {
	Schema  int             `json:"schema"`
	Count   int             `json:"count"`  // runners online
	Spares  int             `json:"spares"` // started in addition, without an agent's credential; mode JIT only
	Spec    Spec            `json:"spec"`
	Ready   time.Duration   `json:"ready"`             // time limit of a start, in nanoseconds
	Agent   string          `json:"agent_version"`     // of the image; "" if unknown
	Rebuild json.RawMessage `json:"rebuild,omitempty"` // the inputs of the image, for a rebuild
	Cache   json.RawMessage `json:"cache,omitempty"`   // the host's cache; nil: the fleet uses none
	Policy  Policy          `json:"-"`                 // belongs to the process that reconciles, so it is not stored
}

// Policy is how a desired state is reached. The zero value is a supervisor's: it tries again
// for ever, replaces runners of another spec one by one, and never ends a job.
type Policy struct {
	Once    bool          // stop when the fleet has converged or an operation failed; when canceled, remove the runners made
	Down    bool          // the desired state is no runner and no registration
	AtOnce  bool          // replace idle runners of another spec together
	JobWait time.Duration // how long a removal waits for the runner's job; 0: the runner stays
	Force   bool          // cancel the jobs of runners to be removed, and go on without GitHub
}

// Engine is the Docker Engine that runners live on, as the reconcile loop needs it.
type Engine interface {
	// Known lists the fleet's runners without looking inside them.
	Known(ctx context.Context, fleet string) ([]Runner, error)
	// Create makes a runner and starts it in the given way, and writes the credential, if any,
	// to its standard input. On an error it leaves nothing behind.
	Create(ctx context.Context, name string, spec Spec, start Start, credential secret.Text) (Runner, error)
	// Ended reports whether a runner's container has exited for good, and its exit code.
	Ended(ctx context.Context, runner Runner) (code int, ended bool, err error)
	// Proven reports whether an image, by its id, has worked on the engine with its kernel.
	Proven(ctx context.Context, image string) (bool, error)
	// Prove remembers that an image works.
	Prove(ctx context.Context, image string) error
	// WaitReady blocks until the inner daemon answers and returns its version, or "" if the
	// daemon starts on demand and has not run yet.
	WaitReady(ctx context.Context, runner Runner) (version string, err error)
	// Cancel ends a runner's job. Remove gives the job time.
	Cancel(ctx context.Context, runner Runner) error
	// Remove stops a runner gracefully and removes its container and volume. Once started, it
	// ignores cancellation of ctx.
	Remove(ctx context.Context, runner Runner) error
	// RemoveAtOnce is Remove without the graceful stop, for runners that never had a job. A
	// runner that has just started may miss the stop signal.
	RemoveAtOnce(ctx context.Context, runner Runner) error
	// LastLines returns the end of a runner's log.
	LastLines(ctx context.Context, runner Runner, n int) []string
	// Look adds facts that are only known inside the runner. If the inside does not answer,
	// the runner is returned unchanged: neither Ready nor Waiting.
	Look(ctx context.Context, runner Runner) Runner
	// Changes reports changes of the fleet's runners from now on. The channel is closed when
	// ctx ends and when the engine's stream breaks. The caller then calls Changes again and
	// looks at the whole fleet, because changes may have been missed.
	Changes(ctx context.Context, fleet string) (<-chan Change, error)
	// Give writes a spare's credential and the spec's certificates to its standard input. An
	// error means that the agent did not receive all of it.
	Give(ctx context.Context, runner Runner, credential secret.Text, spec Spec) error
	// PostMortem returns a record of a runner whose container still exists and may still be
	// running. The record omits anything that could not be read.
	PostMortem(ctx context.Context, runner Runner) (Record, error)
	// RemoveOrphans removes the fleet's volumes that belong to no container.
	RemoveOrphans(ctx context.Context, fleet string) error
}

// Change is an engine event of one runner's container.
type Change struct {
	Runner string
	Kind   ChangeKind
}

// ChangeKind is the engine's name of the event.
type ChangeKind string

// Kinds of change. The engine may report others too.
const (
	Died      ChangeKind = "die"
	OutOfMem  ChangeKind = "oom"
	Begun     ChangeKind = "start"
	Destroyed ChangeKind = "destroy"
	Suspended ChangeKind = "pause"
	Resumed   ChangeKind = "unpause"
)

// Limits for records of ended runners and for events. The limit that is reached first applies.
const (
	RecordsKept = 200
	RecordsFor  = 7 * 24 * time.Hour
	PaperSize   = 64 << 10 // bytes of each text of a record; its end is kept
	EventsSize  = 1 << 20  // bytes of all events; beyond it the older half is dropped
)

// Record is the record of a runner that ended. The JSON form is its public shape.
type Record struct {
	Name       string    `json:"name"`
	Fleet      string    `json:"fleet"`
	Image      string    `json:"image"`
	ImageID    string    `json:"image_id"`
	SpecHash   string    `json:"spec_hash"`
	Created    time.Time `json:"created"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"` // zero: it was still running at the post-mortem
	ExitCode   int       `json:"exit_code"`
	Verdict    string    `json:"verdict"` // the exit code in words
	OOMKilled  bool      `json:"oom_killed"`
	Job        string    `json:"job"`                      // the job's name; "" if there was none
	JobURL     string    `json:"job_url"`                  // "" if unknown
	Conclusion string    `json:"conclusion"`               // of the job, in GitHub's terms; "" if not reported
	Queued     float64   `json:"queued_seconds,omitempty"` // how long the job was queued; 0 if unknown or not requested
	Cause      string    `json:"cause"`                    // why the supervisor removed it
	Cache      *CacheUse `json:"cache,omitempty"`          // of the job; nil: none, or unknown

	Log         []byte `json:"-"` // the end of the container's log: start, daemons, agent
	Diagnostics []byte `json:"-"` // the end of the agent's own log
}

// CacheUse is the use of the host's cache by one runner.
type CacheUse struct {
	Hits          int64 `json:"hits"`   // entries that actions restored
	Misses        int64 `json:"misses"` // entries that actions did not find
	SavedBytes    int64 `json:"saved_bytes"`
	RestoredBytes int64 `json:"restored_bytes"`
	ImageBytes    int64 `json:"image_bytes"` // of images that the cache sent
}

// HadJob reports whether a job ran in the runner.
func (r Record) HadJob() bool { return r.Job != "" || r.JobURL != "" || r.Conclusion != "" }

// Event is one action or observation of a supervisor, with its reason. The JSON form is the
// public shape of `events -o json`.
type Event struct {
	Time   time.Time `json:"time"`
	Fleet  string    `json:"fleet"`
	Kind   EventKind `json:"kind"`
	Runner string    `json:"runner,omitempty"`
	Text   string    `json:"text"`                   // action and reason, one line
	Took   float64   `json:"took_seconds,omitempty"` // 0 if it has no duration
	Last   []string  `json:"last,omitempty"`         // the runner's last log lines, if it failed
}

// EventKind is the kind of an event.
type EventKind string

// The kinds.
const (
	SupervisorEvent EventKind = "supervisor" // it started, ended, or adopted a new Desired
	OnlineEvent     EventKind = "online"     // a runner is ready for jobs
	SpareEvent      EventKind = "spare"      // a spare is ready
	EndedEvent      EventKind = "ended"      // a runner ended by itself
	RemovedEvent    EventKind = "removed"    // the supervisor removed a runner
	ForgotEvent     EventKind = "forgot"     // a registration without a runner was removed
	FailedEvent     EventKind = "failed"     // something failed
	BackOffEvent    EventKind = "back-off"   // no runner is made for a while
	PlanEvent       EventKind = "plan"       // the operations that the supervisor begins
	CacheEvent      EventKind = "cache"      // the host's cache was started
	ImageEvent      EventKind = "image"      // the agent's version is aging, or an image was rebuilt
)

// NotHereError reports that an image can't be rebuilt where the supervisor runs.
type NotHereError struct{ Why string }

func (e *NotHereError) Error() string { return "the image can't be rebuilt here: " + e.Why }

// Store stores a fleet's Desired, records and events on its engine.
type Store interface {
	// Desired returns nil if there is none. A schema newer than DesiredSchema is an error.
	Desired(ctx context.Context) (*Desired, error)
	SaveDesired(ctx context.Context, desired Desired) error
	// AppendEvents keeps the total size of all events within EventsSize.
	AppendEvents(ctx context.Context, events []Event) error
	Events(ctx context.Context) ([]Event, error)
	// SaveRecord keeps up to RecordsKept records for RecordsFor.
	SaveRecord(ctx context.Context, record Record) error
	// Records lists the stored records, oldest first, without their texts.
	Records(ctx context.Context) ([]Record, error)
	// Record returns one record with its texts; nil if there is none.
	Record(ctx context.Context, name string) (*Record, error)
}

// Meter collects metrics. Calls may be concurrent.
type Meter interface {
	// Reconciled counts one pass, with the time that it took to look and decide.
	Reconciled(took time.Duration, err error)
	// Runners sets the number of runners by standing, and the desired number.
	Runners(count map[Standing]int, wanted int)
	// Started counts a started runner, with the time from the decision until it was online.
	Started(took time.Duration, fromSpare bool)
	// Ended counts a runner that ended.
	Ended(record Record)
}

// Standing is the status of a runner, as a supervisor sees it.
type Standing string

// The standings.
const (
	StandingStarting Standing = "starting"
	StandingIdle     Standing = "idle"
	StandingBusy     Standing = "busy"
	StandingOffline  Standing = "offline"
	StandingSpare    Standing = "spare"
	StandingGoing    Standing = "going" // being removed
)

// Standings lists all values of Standing.
var Standings = []Standing{StandingStarting, StandingIdle, StandingBusy, StandingOffline, StandingSpare, StandingGoing}

// Queues is an optional interface of a GitHub client.
type Queues interface {
	// Queued returns how long a job waited for its runner; 0 if unknown.
	Queued(ctx context.Context, jobURL, runner string) (time.Duration, error)
}

// Ages is an optional interface of a GitHub client.
type Ages interface {
	// Deprecated returns the first day on which GitHub refuses the agent's version; zero if no
	// day is set.
	Deprecated(ctx context.Context, version string) (time.Time, error)
}
