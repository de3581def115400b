// Package caches shows and cleans the caches of hosts, for runnerctl cache. It asks each cache in
// its own container. It may import cache and internal/{hostcache,session,ui}.
package caches

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/runnerctl/runnerctl/internal/cache"
	"github.com/runnerctl/runnerctl/internal/cache/archives"
	"github.com/runnerctl/runnerctl/internal/cache/counts"
	"github.com/runnerctl/runnerctl/internal/cache/store"
	"github.com/runnerctl/runnerctl/internal/hostcache"
	"github.com/runnerctl/runnerctl/internal/session"
	"github.com/runnerctl/runnerctl/internal/ui"
)

// NoneError means that a host has no cache.
type NoneError struct{ Host string }

func (e *NoneError) Error() string { return e.Host + " has no cache" }

// Hint returns advice for the user.
func (e *NoneError) Hint() string {
	return "set cache.size in runnerctl.yaml, for example 50GiB, and up starts it"
}

// ask makes a request to the cache of the session's host.
func ask(ctx context.Context, s session.Session, request cache.Request, answer any) (host string, err error) {
	engine, endpoint, err := s.Connect()
	if err != nil {
		return "", err
	}
	defer engine.Close()
	err = hostcache.Do(ctx, engine, request, answer)
	var none *hostcache.NoneError
	if errors.As(err, &none) {
		return endpoint.Name, &NoneError{endpoint.Name}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", endpoint.Name, err)
	}
	return endpoint.Name, err
}

// List are the options of cache ls.
type List struct{ JSON bool }

// entry is one entry of `cache ls -o json`.
type entry struct {
	Host string `json:"host"`
	store.Entry
}

// Run prints the entries of every host that the session covers, those used last first.
func (o List) Run(ctx context.Context, s session.Session) error {
	entries := []entry{}
	answered := false
	var mutex sync.Mutex
	failed := session.OnEach(s.Each(), func(s session.Session) error {
		var report cache.Report
		host, err := ask(ctx, s, cache.Request{Method: http.MethodGet, Path: "/report"}, &report)
		mutex.Lock()
		defer mutex.Unlock()
		answered = answered || err == nil
		for _, one := range report.Entries {
			entries = append(entries, entry{host, one})
		}
		for _, one := range report.Archives {
			entries = append(entries, entry{host, entryOf(one)})
		}
		return err
	})
	if !answered {
		return failed
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return b.Used.Compare(a.Used) })
	if o.JSON {
		return errors.Join(ui.WriteJSON(s.Streams.Out, entries), failed)
	}
	var rows [][]string
	for _, one := range entries {
		rows = append(rows, []string{one.ID, one.Host, one.Repository, ui.Plain(one.Scope), ui.Plain(one.Key), ui.Bytes(one.Size), fmt.Sprint(one.Hits), ui.Duration(time.Since(one.Used))})
	}
	ui.Table(s.Streams.Out, []string{"ID", "HOST", "REPOSITORY", "SCOPE", "KEY", "SIZE", "HITS", "LAST USE"}, rows)
	return failed
}

// WriteCounts prints a line of counts for each host with a cache. A host without one, or whose cache
// does not answer, has no line: the supervisor reports that.
func WriteCounts(ctx context.Context, s session.Session) {
	var mutex sync.Mutex
	_ = session.OnEach(s.Each(), func(s session.Session) error {
		var count counts.Count
		host, err := ask(ctx, s, cache.Request{Method: http.MethodGet, Path: "/counts"}, &count)
		if err == nil {
			mutex.Lock()
			defer mutex.Unlock()
			fmt.Fprintf(s.Streams.Out, "cache of %s: %d hits, %d misses, %s restored, %s of images (%s downloaded) since its start\n",
				host, count.Hits, count.Misses, ui.Bytes(count.RestoredBytes), ui.Bytes(count.ImageBytes), ui.Bytes(count.DownloadedBytes))
		}
		return nil
	})
}

// archiveScope stands for the scope of an action's archive, which all jobs of a host share.
const archiveScope = "actions"

// entryOf is an action's archive as an entry.
func entryOf(one archives.Archive) store.Entry {
	return store.Entry{ID: one.Commit, Repository: one.Repository, Scope: archiveScope, Key: "archive", Size: one.Size, Created: one.Used, Used: one.Used}
}

// Warm downloads archives of actions to the caches of all hosts that the session covers.
func Warm(ctx context.Context, s session.Session, actions []string) error {
	var mutex sync.Mutex
	return session.OnEach(s.Each(), func(s session.Session) error {
		var failures []error
		for _, action := range actions {
			var made archives.Archive
			host, err := ask(ctx, s, cache.Request{Method: http.MethodPost, Path: "/archives?action=" + url.QueryEscape(action)}, &made)
			failures = append(failures, err)
			if err == nil {
				mutex.Lock()
				fmt.Fprintf(s.Streams.Out, "%s  %s  %s  %s\n", host, action, made.Commit, ui.Bytes(made.Size))
				mutex.Unlock()
			}
		}
		return errors.Join(failures...)
	})
}

// Remove removes entries from the caches of all hosts that the session covers. An ID that no cache
// has is an error.
func Remove(ctx context.Context, s session.Session, ids []string) error {
	var mutex sync.Mutex
	removed := map[string]bool{}
	failed := session.OnEach(s.Each(), func(s session.Session) error {
		for _, id := range ids {
			var nothing struct{}
			_, err := ask(ctx, s, cache.Request{Method: http.MethodDelete, Path: "/entries/" + id}, &nothing)
			var unknown *hostcache.UnknownError
			if errors.As(err, &unknown) { // another host may have it
				continue
			}
			if err != nil {
				return err
			}
			mutex.Lock()
			removed[id] = true
			mutex.Unlock()
		}
		return nil
	})
	failures := []error{failed}
	for _, id := range ids {
		if removed[id] {
			fmt.Fprintln(s.Streams.Out, id)
		} else if failed == nil {
			failures = append(failures, fmt.Errorf("no cache has an entry %s", id))
		}
	}
	return errors.Join(failures...)
}

// Prune are the options of cache prune.
type Prune struct {
	Unused time.Duration // 0: all entries
	Sure   bool          // don't ask for confirmation
}

// Run removes unused entries from the caches of all hosts that the session covers.
func (o Prune) Run(ctx context.Context, s session.Session) error {
	if !o.Sure {
		question := "Remove all entries?"
		if o.Unused > 0 {
			question = fmt.Sprintf("Remove the entries that were not used for %s?", o.Unused)
		}
		if sure, err := s.Prompt.Confirm(question, false); err != nil || !sure {
			return err
		}
	}
	var mutex sync.Mutex
	return session.OnEach(s.Each(), func(s session.Session) error {
		var removed cache.Pruned
		host, err := ask(ctx, s, cache.Request{Method: http.MethodPost, Path: "/prune?unused=" + o.Unused.String()}, &removed)
		if err != nil {
			return err
		}
		var size int64
		for _, one := range removed.Entries {
			size += one.Size
		}
		for _, one := range removed.Archives {
			size += one.Size
		}
		mutex.Lock()
		defer mutex.Unlock()
		fmt.Fprintf(s.Streams.Err, "%s: removed %d entries, reclaimed %s\n", host, len(removed.Entries)+len(removed.Archives), ui.Bytes(size))
		return nil
	})
}

// Verify reads all entries of the caches of all hosts that the session covers, and prints those
// that were damaged. They are removed.
func Verify(ctx context.Context, s session.Session) error {
	var mutex sync.Mutex
	return session.OnEach(s.Each(), func(s session.Session) error {
		var damaged []store.Entry
		host, err := ask(ctx, s, cache.Request{Method: http.MethodPost, Path: "/verify"}, &damaged)
		if err != nil {
			return err
		}
		mutex.Lock()
		defer mutex.Unlock()
		for _, one := range damaged {
			fmt.Fprintf(s.Streams.Out, "%s  %s  %s  %s\n", one.ID, one.Repository, ui.Plain(one.Scope), ui.Plain(one.Key))
		}
		fmt.Fprintf(s.Streams.Err, "%s: removed %d damaged entries\n", host, len(damaged))
		return nil
	})
}
