package fleet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// WishSchema is the version of the wish's form.
const WishSchema = 1

// Wish is what a supervisor keeps a fleet like: one JSON document, which whoever
// changes it writes anew. There is no secret in it.
type Wish struct {
	Schema  int             `json:"schema"`
	Count   int             `json:"count"`  // runners online
	Spares  int             `json:"spares"` // started beyond these, without an agent's credential; of mode JIT only
	Spec    Spec            `json:"spec"`
	Ready   time.Duration   `json:"ready"`             // limit of a start, in nanoseconds
	Agent   string          `json:"agent_version"`     // of the image; "" where that is not known
	Rebuild json.RawMessage `json:"rebuild,omitempty"` // what the image is made from, for whoever makes it anew
}

// SupervisedEngine is the host as a supervisor needs it.
type SupervisedEngine interface {
	Engine
	// Known lists the fleet's runners without a look inside.
	Known(ctx context.Context, fleet string) ([]Runner, error)
	// Look adds what only the runner's inside tells. Where it does not answer, the
	// runner is as it was: neither Ready nor Waiting.
	Look(ctx context.Context, runner Runner) Runner
	// Changes tells of the fleet's runners from now on. The channel is closed when
	// ctx ends and when the engine's stream breaks: whoever listens asks anew, and
	// then looks at all, as nobody knows what happened meanwhile.
	Changes(ctx context.Context, fleet string) (<-chan Change, error)
	// CreateSpare makes and starts a runner whose agent waits for its credential
	// without a limit. On an error nothing of it is left.
	CreateSpare(ctx context.Context, name string, spec Spec) (Runner, error)
	// Give writes a spare's credential, and the spec's certificates, to its
	// standard input. An error says that its agent has not got all of it.
	Give(ctx context.Context, runner Runner, credential secret.Text, spec Spec) error
	// Autopsy tells what became of a runner, whose container is still there and may
	// still run. What could not be read is left out of the record.
	Autopsy(ctx context.Context, runner Runner) (Record, error)
	// RemoveOrphans removes the fleet's volumes that no container has.
	RemoveOrphans(ctx context.Context, fleet string) error
}

// Change is what the engine tells of one runner's container.
type Change struct {
	Runner string
	Kind   ChangeKind
}

// ChangeKind is the engine's own word.
type ChangeKind string

// The kinds that a supervisor wakes for; all others may come too.
const (
	Died      ChangeKind = "die"
	OutOfMem  ChangeKind = "oom"
	Begun     ChangeKind = "start"
	Destroyed ChangeKind = "destroy"
	Stilled   ChangeKind = "pause"
	Resumed   ChangeKind = "unpause"
)

// What is kept of ended runners and of the supervisor's doings; whichever bound is
// reached first.
const (
	RecordsKept = 200
	RecordsFor  = 7 * 24 * time.Hour
	PaperSize   = 64 << 10 // bytes of each text of a record, its end
	EventsSize  = 1 << 20  // bytes of all events; past it the older half goes
)

// Record is what is kept of a runner that ended. The JSON form is its public shape.
type Record struct {
	Name       string    `json:"name"`
	Fleet      string    `json:"fleet"`
	Image      string    `json:"image"`
	ImageID    string    `json:"image_id"`
	SpecHash   string    `json:"spec_hash"`
	Created    time.Time `json:"created"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"` // zero: it ran when it was looked at
	ExitCode   int       `json:"exit_code"`
	Verdict    string    `json:"verdict"` // the exit code in words
	OOMKilled  bool      `json:"oom_killed"`
	Job        string    `json:"job"`                      // its name; "" where it had none
	JobURL     string    `json:"job_url"`                  // "" where that is not known
	Conclusion string    `json:"conclusion"`               // of the job, in GitHub's word; "" where the agent did not tell
	Queued     float64   `json:"queued_seconds,omitempty"` // the job's wait for the runner; 0 where that is not known, or was not asked
	Cause      string    `json:"cause"`                    // why the supervisor removed it

	Log         []byte `json:"-"` // the end of the container's log: start, daemons, agent
	Diagnostics []byte `json:"-"` // the end of the agent's own
}

// HadJob tells whether a job ran in it.
func (r Record) HadJob() bool { return r.Job != "" || r.JobURL != "" || r.Conclusion != "" }

// Event is one thing that a supervisor did or saw, and why. The JSON form is the
// public shape of `events -o json`.
type Event struct {
	Time   time.Time `json:"time"`
	Fleet  string    `json:"fleet"`
	Kind   EventKind `json:"kind"`
	Runner string    `json:"runner,omitempty"`
	Text   string    `json:"text"`                   // what and why, one line
	Took   float64   `json:"took_seconds,omitempty"` // 0 where it is no matter of time
	Last   []string  `json:"last,omitempty"`         // the runner's last log lines, where it failed
}

// EventKind sorts events.
type EventKind string

// The kinds.
const (
	SupervisorEvent EventKind = "supervisor" // it began, ended, took a new wish
	OnlineEvent     EventKind = "online"     // a runner is ready for jobs
	SpareEvent      EventKind = "spare"      // a spare is ready
	EndedEvent      EventKind = "ended"      // a runner ended by itself
	RemovedEvent    EventKind = "removed"    // the supervisor removed one
	ForgotEvent     EventKind = "forgot"     // a registration without a runner
	FailedEvent     EventKind = "failed"     // something did not work out
	BackOffEvent    EventKind = "back-off"   // nothing is tried for a while
	ImageEvent      EventKind = "image"      // the agent's version ages, an image was made anew
)

// NotHereError says that an image can't be made where its supervisor is.
type NotHereError struct{ Why string }

func (e *NotHereError) Error() string { return "the image can't be made anew from here: " + e.Why }

// Store keeps a fleet's wish, records and events on its engine.
type Store interface {
	// Wish gives nil where there is none. A schema that is newer than WishSchema is
	// an error.
	Wish(ctx context.Context) (*Wish, error)
	SaveWish(ctx context.Context, wish Wish) error
	// AppendEvents keeps the events within EventsSize.
	AppendEvents(ctx context.Context, events []Event) error
	Events(ctx context.Context) ([]Event, error)
	// SaveRecord keeps RecordsKept for RecordsFor.
	SaveRecord(ctx context.Context, record Record) error
	// Records lists the kept ones, oldest first, without their texts.
	Records(ctx context.Context) ([]Record, error)
	// Record gives one with its texts; nil where there is none.
	Record(ctx context.Context, name string) (*Record, error)
}

// Meter counts; calls may come side by side.
type Meter interface {
	// Reconciled one time: what it cost to look and decide.
	Reconciled(took time.Duration, err error)
	// Runners that there are, by their standing, and how many are wished.
	Runners(count map[Standing]int, wanted int)
	// Started a runner: from the decision until it was online.
	Started(took time.Duration, fromSpare bool)
	// Ended a runner.
	Ended(record Record)
}

// Standing is what a runner is at, in a supervisor's view.
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

// Standings are all of them.
var Standings = []Standing{StandingStarting, StandingIdle, StandingBusy, StandingOffline, StandingSpare, StandingGoing}

// Queues is what a Forge may tell beyond its other duties.
type Queues interface {
	// Queued tells how long a job waited for its runner; 0 where that is not known.
	Queued(ctx context.Context, jobURL, runner string) (time.Duration, error)
}

// Ages is what a Forge may tell beyond its other duties.
type Ages interface {
	// Deprecated gives the first day on which the forge takes the agent's version
	// no more; zero where none is set.
	Deprecated(ctx context.Context, version string) (time.Time, error)
}

// Supervision is what Supervise works with.
type Supervision struct {
	Fleet   string
	Engine  SupervisedEngine
	Forges  Forges // by the target's URL
	Store   Store
	NewName func() string // a random one; it may be taken
	// Rebuild makes the wish's image anew, with the newest agent, and gives the wish
	// that has it; a NotHereError where that can't be done.
	Rebuild func(ctx context.Context, wish Wish) (Wish, error)
	Reload  <-chan struct{} // says that the wish may have changed
	Observe func(Event)     // is told of each event when it happens; nil: nobody
	Meter   Meter           // nil: nobody counts
}
