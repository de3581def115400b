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

// GitHub is the service that assigns jobs to runners: GitHub, or a stand-in. It shows a fleet
// of one engine only its own registrations (Marker).
type GitHub interface {
	// Register returns the credential that a runner's agent needs to register under name. In
	// mode JIT, this call creates the registration; in mode Token, the agent does. On an error
	// Register leaves nothing behind.
	Register(ctx context.Context, name string, agent Agent) (secret.Text, error)
	// Registrations lists the fleet's registrations.
	Registrations(ctx context.Context) ([]Registration, error)
	// Find returns the registration with that name, or nil. It is more reliable than a list,
	// which can change while it is read.
	Find(ctx context.Context, name string) (*Registration, error)
	// Unregister removes a registration. It returns a *BusyError if the runner has a job; then
	// the registration is unchanged.
	Unregister(ctx context.Context, registration Registration) error
	// JobURLs returns the URLs of running jobs, by runner name, as far as GitHub reports them.
	JobURLs(ctx context.Context) (map[string]string, error)
}

// Errors of a GitHub client, for errors.Is.
var (
	ErrDenied    = errors.New("access denied")                  // retrying does not help
	ErrNameTaken = errors.New("the name is registered already") // another name may be free
)

// Targets maps a target's URL to its GitHub.
type Targets map[string]GitHub

// Registration is a runner as GitHub lists it.
type Registration struct {
	URL    string // the target
	ID     int64
	Name   string
	Online bool // its agent is connected
	Busy   bool // it has a job
}

// BusyError reports that a registration can't be removed because its runner has a job.
type BusyError struct {
	Name string
	Err  error // GitHub's refusal
}

func (e *BusyError) Error() string { return fmt.Sprintf("runner %s has a job", e.Name) }

// Unwrap returns GitHub's refusal.
func (e *BusyError) Unwrap() error { return e.Err }

// Marker returns the label that all registrations of a fleet have. It distinguishes them from
// those of a fleet with the same name on another engine, which look offline like a leftover
// while that machine is off.
func Marker(fleet, engineID string) string {
	sum := sha256.Sum256([]byte(engineID))
	return "runnerctl-" + fleet + "-" + hex.EncodeToString(sum[:4])
}

// NameLetters are the characters of the random part of a runner's name. Characters that look
// alike are left out.
const NameLetters = "23456789abcdefghjkmnpqrstuvwxyz"

// NewName returns a runner name that is not in taken, and adds it there.
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

// IsName reports whether name has the form of a name that we give to the fleet's runners.
func IsName(fleet, name string) bool { return NamedIn(name) == fleet }

var nameForm = regexp.MustCompile("^([a-z0-9][a-z0-9-]{0,30})-[" + NameLetters + "]{4}$")

// NamedIn returns the fleet in which we would have given a runner this name; "" if name has
// another form.
func NamedIn(name string) string {
	found := nameForm.FindStringSubmatch(name)
	if found == nil {
		return ""
	}
	return found[1]
}

// ListingState is a runner's status at GitHub.
type ListingState string

// States of a Listing.
const (
	Online    ListingState = "online"
	Offline   ListingState = "offline"
	NotListed ListingState = "not listed"
	NotAsked  ListingState = "not asked" // the target is on another host than the token
)

// Listing is a runner as GitHub sees it.
type Listing struct {
	State  ListingState `json:"state"`
	Busy   bool         `json:"busy"`
	ID     int64        `json:"id"` // 0: not listed
	JobURL string       `json:"job_url,omitempty"`
}

// Listing returns the registration as a runner's listing.
func (r Registration) Listing() *Listing {
	state := Offline
	if r.Online {
		state = Online
	}
	return &Listing{State: state, Busy: r.Busy, ID: r.ID}
}

// Join adds the registrations of the target at url to the runners. It returns the fleet's
// registrations that no runner on the engine has. For a runner with an agent, GitHub decides
// whether it is busy.
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
			runner.Listing = one.Listing()
		}
		runner.Busy = runner.HasJob()
	}
	for _, one := range registrations {
		if !taken[one.Name] && IsName(fleet, one.Name) {
			orphans = append(orphans, one)
		}
	}
	return orphans
}

// NotOnlineError reports that a runner's agent did not connect to GitHub.
type NotOnlineError struct {
	Runner string
	URL    string
	State  ListingState
	After  time.Duration
	Err    error // why GitHub's latest list is not available; nil if it is
	Lines  []string
}

// Unwrap returns GitHub's error.
func (e *NotOnlineError) Unwrap() error { return e.Err }

func (e *NotOnlineError) Error() string {
	return fmt.Sprintf("runner %s: its agent did not connect to %s within %s", e.Runner, e.URL, e.After.Round(100*time.Millisecond))
}

// Cause describes the state that GitHub shows.
func (e *NotOnlineError) Cause() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return "GitHub shows it as " + string(e.State)
}

// Last holds the runner's last log lines.
func (e *NotOnlineError) Last() []string { return e.Lines }

// Hint returns advice for the user.
func (e *NotOnlineError) Hint() string {
	return "can runners reach " + e.URL + "? (proxies and firewalls of the host hold for them too); a slow one is given more time by runners.readyTimeout"
}

// EndedError reports that a runner's agent ended before it was seen online.
type EndedError struct {
	Runner string
	Code   int
	Lines  []string
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("runner %s: its agent ended with exit code %d", e.Runner, e.Code)
}

// Cause explains the exit code.
func (e *EndedError) Cause() string { return Verdict(e.Code, false) }

// Last holds the runner's last log lines.
func (e *EndedError) Last() []string { return e.Lines }
