package archives

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Path is where jobs report the actions that they have used, one per line.
const Path = "/runnerctl/actions"

const (
	mostReported = 16 << 10      // bytes of a report
	mostWaiting  = 100           // actions
	perHour      = 20            // lookups of reported actions. One takes up to two requests, and GitHub allows 60 without a token
	again        = 6 * time.Hour // after which an action is looked up again: a tag may mean another commit
)

// Used keeps the archives of actions that jobs report. Only names come from a job.
type Used struct {
	Archives
	APIs []string // URLs; the first that has an action counts
	Log  *slog.Logger

	Waiting chan string // actions
}

// NewWaiting returns the queue of reported actions.
func NewWaiting() chan string { return make(chan string, mostWaiting) }

// Warm downloads the archive of an action.
func (u *Used) Warm(ctx context.Context, action string) (made Archive, err error) {
	err = ErrName
	for _, api := range u.APIs {
		if made, err = u.Add(ctx, api, action); err == nil || errors.Is(err, ErrName) {
			break
		}
	}
	return made, err
}

// ServeHTTP takes a report.
func (u *Used) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
		return
	}
	lines := bufio.NewScanner(io.LimitReader(r.Body, mostReported))
	for lines.Scan() {
		if _, _, err := Parse(lines.Text()); err != nil {
			continue
		}
		select {
		case u.Waiting <- lines.Text():
		default: // the next job reports it again
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// Run downloads the archives of reported actions until ctx ends.
func (u *Used) Run(ctx context.Context) {
	looked := map[string]time.Time{} // by action
	var recent []time.Time           // lookups of the last hour, one for each GitHub
	for {
		var action string
		select {
		case <-ctx.Done():
			return
		case action = <-u.Waiting:
		}
		now := u.Now()
		for len(recent) > 0 && now.Sub(recent[0]) >= time.Hour {
			recent = recent[1:]
		}
		if now.Sub(looked[action]) < again || len(recent) >= perHour {
			continue
		}
		if len(looked) > mostWaiting*perHour {
			clear(looked)
		}
		looked[action] = now
		for range u.APIs {
			recent = append(recent, now)
		}
		if made, err := u.Warm(ctx, action); err != nil {
			if errors.Is(err, ErrLimited) { // the next job's report is early enough
				delete(looked, action)
			}
			u.Log.Warn("an action's archive is not kept", "action", action, "error", err)
		} else {
			u.Log.Info("an action's archive is kept", "action", action, "commit", made.Commit)
		}
	}
}
