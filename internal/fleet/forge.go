package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/runnerctl/runnerctl/internal/secret"
)

// Forge is where runners take their jobs from: GitHub, or a stand-in. It shows
// one fleet of one engine its own registrations only (Marker).
type Forge interface {
	// Register gives what a runner's agent needs to be registered under name. Of
	// mode JIT the registration is made by this, of mode Token by the agent
	// itself. On an error nothing of it is left.
	Register(ctx context.Context, name string, agent Agent) (secret.Text, error)
	// Registrations lists the fleet's.
	Registrations(ctx context.Context) ([]Registration, error)
	// Find looks one up, more reliably than a list that changes while it is read;
	// nil where there is none.
	Find(ctx context.Context, name string) (*Registration, error)
	// Unregister removes one. A *BusyError says that it has a job; it is as it was.
	Unregister(ctx context.Context, registration Registration) error
	// JobURLs gives the pages of the jobs that run now by the names of their
	// runners, as far as the forge tells.
	JobURLs(ctx context.Context) (map[string]string, error)
}

// What a forge's errors are held against (errors.Is).
var (
	ErrDenied    = errors.New("whoever asks may not")           // asking again does not help
	ErrNameTaken = errors.New("the name is registered already") // another one may not be
)

// Forges by their target's URL.
type Forges map[string]Forge

// Registration is a runner as its forge lists it.
type Registration struct {
	URL    string // the target
	ID     int64
	Name   string
	Online bool // its agent is connected
	Busy   bool // it has a job
}

// BusyError says that a registration has a job, so that it can't be removed.
type BusyError struct {
	Name string
	Err  error // the forge's refusal
}

func (e *BusyError) Error() string { return fmt.Sprintf("runner %s has a job", e.Name) }

// Unwrap gives the forge's refusal.
func (e *BusyError) Unwrap() error { return e.Err }

// Marker is the label that all registrations of a fleet bear. It tells them from
// those of a fleet that has the same name on another engine, which are as offline
// as a leftover when their machine is off.
func Marker(fleet, engineID string) string {
	sum := sha256.Sum256([]byte(engineID))
	return "runnerctl-" + fleet + "-" + hex.EncodeToString(sum[:4])
}

// NameLetters are those of the random part of a runner's name; what looks alike
// is left out.
const NameLetters = "23456789abcdefghjkmnpqrstuvwxyz"

// NewName makes a runner's name that is not taken, and takes it.
func NewName(fleet string, taken map[string]bool) string {
	for {
		random := make([]byte, 4)
		_, _ = rand.Read(random) // never fails (crypto/rand)
		for i := range random {
			random[i] = NameLetters[int(random[i])%len(NameLetters)]
		}
		name := fleet + "-" + string(random)
		if !taken[name] {
			taken[name] = true
			return name
		}
	}
}

// IsName tells whether a runner of the fleet could have been named so by us.
func IsName(fleet, name string) bool { return NamedIn(name) == fleet }

var nameForm = regexp.MustCompile("^([a-z0-9][a-z0-9-]{0,30})-[" + NameLetters + "]{4}$")

// NamedIn is the fleet in which we would have named a runner so; "" where there is none.
func NamedIn(name string) string {
	found := nameForm.FindStringSubmatch(name)
	if found == nil {
		return ""
	}
	return found[1]
}

// ListingState is what a forge says of a runner.
type ListingState string

// The states.
const (
	Online    ListingState = "online"
	Offline   ListingState = "offline"
	NotListed ListingState = "not listed"
	NotAsked  ListingState = "not asked" // the forge is of another host than the token
)

// Listing is a runner in its forge's view.
type Listing struct {
	State  ListingState `json:"state"`
	Busy   bool         `json:"busy"`
	ID     int64        `json:"id"` // 0: not listed
	JobURL string       `json:"job_url,omitempty"`
}

func (r Registration) listing() *Listing {
	state := Offline
	if r.Online {
		state = Online
	}
	return &Listing{State: state, Busy: r.Busy, ID: r.ID}
}

// Join adds to the runners what the forge at url lists, and returns the fleet's
// registrations that no runner on the engine has. Of a runner with an agent, the
// forge's word says whether it is busy.
func Join(runners []Runner, fleet, url string, registrations []Registration) (orphans []Registration) {
	byName := map[string]Registration{}
	for _, one := range registrations {
		byName[one.Name] = one
	}
	taken := map[string]bool{}
	for i := range runners {
		runner := &runners[i]
		taken[runner.Name] = true
		if runner.Fleet != fleet || runner.Agent.Mode == NoAgent || runner.Agent.URL != url {
			continue
		}
		runner.Listing = &Listing{State: NotListed}
		if one, listed := byName[runner.Name]; listed {
			runner.Listing = one.listing()
		}
		runner.Busy = runner.hasJob()
	}
	for _, one := range registrations {
		if !taken[one.Name] && IsName(fleet, one.Name) {
			orphans = append(orphans, one)
		}
	}
	return orphans
}

// NotOnlineError says that a runner's agent did not connect to its forge.
type NotOnlineError struct {
	Runner string
	URL    string
	State  ListingState
	After  time.Duration
	Err    error // why the forge's last word is not to be had; nil where it is
	Lines  []string
}

// Unwrap gives the forge's error.
func (e *NotOnlineError) Unwrap() error { return e.Err }

func (e *NotOnlineError) Error() string {
	return fmt.Sprintf("runner %s: its agent did not connect to %s within %s", e.Runner, e.URL, e.After.Round(100*time.Millisecond))
}

// Cause names what the forge shows.
func (e *NotOnlineError) Cause() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return "GitHub shows it as " + string(e.State)
}

// Last holds the runner's last log lines.
func (e *NotOnlineError) Last() []string { return e.Lines }

// Hint says what to do.
func (e *NotOnlineError) Hint() string {
	return "can runners reach " + e.URL + "? (proxies and firewalls of the host hold for them too); a slow one is given more time by runners.readyTimeout"
}

// EndedError says that a runner's agent ended before it was seen online.
type EndedError struct {
	Runner string
	Code   int
	Lines  []string
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("runner %s: its agent ended with exit code %d", e.Runner, e.Code)
}

// Cause says what the code means.
func (e *EndedError) Cause() string { return Verdict(e.Code, false) }

// Last holds the runner's last log lines.
func (e *EndedError) Last() []string { return e.Lines }
